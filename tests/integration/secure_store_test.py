#!/usr/bin/python3
"""A store in an etcd that asks for certificates and for a password, and gives rights for one prefix only."""

import subprocess
import unittest

import grpc

import cluster
import etcd
from cluster import wait_for

PREFIX = "secured"


def field(number, value):
    """Of a message: a string, or another message."""
    return bytes([number << 3 | 2, len(value)]) + value


class SecureStoreTest(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        self.certificates("ca")
        self.server_files = self.certificates("etcd", "ca")
        self.client_files = self.certificates("controller", "ca")
        self.etcd = etcd.Etcd(self.directory, members=1, tls=self.server_files)
        self.addCleanup(self.etcd.stop)
        self.etcd.start()
        self.password = self.directory / "password"
        self.password.write_text("open sesame\n")
        self.ask_for_passwords()

    def certificates(self, name, authority=None):
        path = {kind: self.directory / f"{name}.{kind}" for kind in ("key", "cert")}
        cluster.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path["key"])
        names = self.directory / "names"
        names.write_text("subjectAltName=IP:127.0.0.1\n")
        if authority is None:
            cluster.run("openssl", "req", "-x509", "-new", "-days", "2", "-subj", f"/CN={name}", "-key", path["key"],
                        "-out", path["cert"])
            return path
        request = cluster.run("openssl", "req", "-new", "-subj", f"/CN={name}", "-key", path["key"]).stdout
        signer = {kind: self.directory / f"{authority}.{kind}" for kind in ("key", "cert")}
        cluster.run("openssl", "x509", "-req", "-days", "2", "-CAcreateserial", "-CA", signer["cert"], "-CAkey",
                    signer["key"], "-extfile", names, "-out", path["cert"], input=request)
        return {**path, "ca": signer["cert"]}

    def ask_for_passwords(self):
        """Users of etcd: root, and one that may use the prefix of the store."""
        credentials = grpc.ssl_channel_credentials(
            *(self.client_files[kind].read_bytes() for kind in ("ca", "key", "cert")))
        first, end = f"/{PREFIX}/".encode(), f"/{PREFIX}0".encode()
        may = bytes([1 << 3, 2]) + field(2, first) + field(3, end)
        with grpc.secure_channel(self.etcd.clients[0], credentials) as channel:
            for method, request in [
                ("UserAdd", field(1, b"root") + field(2, b"another")),
                ("RoleAdd", field(1, b"root")),
                ("UserGrantRole", field(1, b"root") + field(2, b"root")),
                ("UserAdd", field(1, b"cowherd") + field(2, b"open sesame")),
                ("RoleAdd", field(1, b"store")),
                ("RoleGrantPermission", field(1, b"store") + field(2, may)),
                ("UserGrantRole", field(1, b"cowherd") + field(2, b"store")),
                ("AuthEnable", b""),
            ]:
                channel.unary_unary(f"/etcdserverpb.Auth/{method}")(request, timeout=5)

    def secure_controller(self, *flags, files=None):
        controller = self.server(
            cluster.CONTROLLER, f"--store={self.etcd.store(PREFIX)}", "--node=one=127.0.0.1:1",
            *(f"--etcd_tls_{kind}={path}" for kind, path in (files or self.client_files).items()), *flags)
        controller.command.append(f"--advertise={controller.address}")
        return controller

    def user(self, password):
        return "--etcd_user=cowherd", f"--etcd_password_file={password}"

    def test_a_controller_with_certificate_and_password_leads(self):
        controller = self.secure_controller(*self.user(self.password)).start()
        wait_for("it leads", lambda: controller.metrics()[1]["cowherd_controller_leads"] == 1)
        job = self.create_job(controller, "--all")
        self.assertEqual(self.job(controller, job)["state"], "PENDING")
        self.assertEqual(controller.stop(), 0)
        # It is there for the next one.
        controller.start()
        wait_for("it leads again", lambda: controller.metrics()[1]["cowherd_controller_leads"] == 1)
        self.assertEqual(self.job(controller, job)["state"], "PENDING")

    def refused(self, controller, said):
        """It does not lead, and its log says why."""
        controller.launch()
        wait_for("the log says why", lambda: said in controller.log.read_text(), 20)
        controller.kill()

    def test_others_do_not(self):
        wrong = self.directory / "wrong"
        wrong.write_text("close sesame\n")
        self.refused(self.secure_controller(*self.user(wrong)), "invalid user ID or password")
        # A certificate names a user too, who has no rights here.
        self.refused(self.secure_controller(), "permission denied")
        self.certificates("stranger")
        stranger = {**self.certificates("intruder", "stranger"), "ca": self.client_files["ca"]}
        self.refused(self.secure_controller(*self.user(self.password), files=stranger), "campaign failed")
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            cluster.run(*self.secure_controller("--etcd_user=cowherd").command, "--listen=127.0.0.1:0")
        self.assertIn(b"--etcd_password_file", caught.exception.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
