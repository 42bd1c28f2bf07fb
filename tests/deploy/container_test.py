#!/usr/bin/python3
"""The image as it is shipped, run as the manifests tell: their commands, flags, variables, mounts and security contexts,
with certificates as cert-manager would issue them, on btrfs and XFS.

Needs root, a build in bazel-bin, npm install in this folder, and podman, buildah, runc, debootstrap, etcd and openssl. The
image's base is made by debootstrap, so nothing but Debian's packages is fetched. Containers run in this machine's network
namespace, where each pod has a loopback address of its own, so that they listen on the ports of the manifests.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import unittest

import grpc
import manifests

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/integration"))
from cluster import BIN, MIB, ClusterTest, checksums, run, wait_for, write_random  # noqa: E402

IMAGE = "localhost/cowherd:test"
PROGRAMS = ("client/cowherd", "server/node/cowherd-node", "server/controller/cowherd-controller")
NODE_IP, ETCD_IP, CONTROLLER_IPS = "127.77.0.1", "127.77.0.2", ("127.77.0.3", "127.77.0.4")
VERSION = re.search(r'kVersion\[\] = "(.*)"', (REPOSITORY / "server/base/version.h").read_text()).group(1)
USAGES = {"server auth": "serverAuth", "client auth": "clientAuth"}


def rights(pod):
    """A pod's security contexts as flags of podman; everything in them must be known here."""
    container = dict(pod["containers"][0]["securityContext"])
    context = dict(pod["securityContext"])
    flags = []
    for key in ("fsGroup", "fsGroupChangePolicy", "runAsNonRoot"):
        context.pop(key, None)
    assert context.pop("seccompProfile") == {"type": "RuntimeDefault"}  # podman's default, too
    flags.append(f"--user={context.pop('runAsUser')}:{context.pop('runAsGroup')}")
    assert container.pop("privileged") is False
    if container.pop("allowPrivilegeEscalation") is False:
        flags.append("--security-opt=no-new-privileges")
    if container.pop("readOnlyRootFilesystem"):
        flags += ["--read-only", "--read-only-tmpfs=false"]
    capabilities = container.pop("capabilities")
    flags += [f"--cap-drop={name.lower()}" for name in capabilities["drop"]]
    flags += [f"--cap-add={name}" for name in capabilities.get("add", [])]
    assert not context and not container, (context, container)
    return flags


def variables(pod, fields):
    """A container's variables; `fields` are of the downward API."""
    known = {}
    for variable in pod["containers"][0].get("env", []):
        value = variable.get("value") or fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        for name, earlier in known.items():
            value = value.replace(f"$({name})", earlier)
        known[variable["name"]] = value
    return [f"--env={name}={value}" for name, value in known.items()]


def mounts(pod, folders):
    """A container's mounts; `folders` are what its volumes hold."""
    flags = []
    for mount in pod["containers"][0]["volumeMounts"]:
        how = ["ro"] if mount.get("readOnly") else ["rw"]
        how.append({None: "rprivate", "HostToContainer": "rslave"}[mount.get("mountPropagation")])
        flags.append(f"--volume={folders[mount['name']]}:{mount['mountPath']}:{','.join(how)}")
    return flags


class Podman:
    """Images and containers in a directory of their own."""

    def __init__(self, directory):
        self.environment = dict(os.environ, CONTAINERS_STORAGE_CONF=str(directory / "storage.conf"))
        (directory / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/root"\nrunroot = "{directory}/run"\n'
        )

    def __call__(self, *words):
        """Runs podman; what it said, a container's standard error included."""
        command = ["podman", "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=none", *map(str, words)]
        done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def start(self, name, flags, *command):
        # Limits that this machine may not let podman raise.
        limits = ["--pids-limit=0", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
        self("run", "--detach", f"--name={name}", "--network=host", *limits, *flags, IMAGE, *command)

    def serving(self, name):
        """The line that a server says once it serves."""
        for line in self("logs", name).splitlines():
            if '"msg":"serving"' in line:
                return json.loads(line)
        if self("inspect", "--format={{.State.Running}}", name).strip() != "true":
            raise AssertionError(f"{name} ended: {self('logs', name)}")
        return None


def base_image(directory):
    """Debian's smallest system as a tar file, made anew once a week: the image's build brings it up to date."""
    kept = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cowherd/bookworm.tar"
    if kept.exists() and time.time() - kept.stat().st_mtime < 7 * 24 * 3600:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    run("debootstrap", "--variant=minbase", "bookworm", directory / "base")
    run("tar", "-C", directory / "base", "-c", "-f", directory / "base.tar", ".")
    run("rm", "-rf", directory / "base")
    run("mv", directory / "base.tar", kept)
    return kept


class Authority:
    """Signs what the manifests' Certificates ask for, into folders as secrets are mounted."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=authority",
            "-keyout", directory / "ca.key", "-out", directory / "ca.crt")  # fmt: skip

    def sign(self, name, names, usages, owner=0):
        folder = self.directory / name
        folder.mkdir()
        text = f"subjectAltName={','.join(names)}\nextendedKeyUsage={','.join(usages)}\n"
        (folder / "extensions").write_text(text)
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", folder / "tls.key", "-out", folder / "csr")
        run("openssl", "x509", "-req", "-days", "1", "-in", folder / "csr", "-CA", self.directory / "ca.crt",
            "-CAkey", self.directory / "ca.key", "-CAcreateserial", "-extfile", folder / "extensions", "-out", folder / "tls.crt")  # fmt: skip
        (folder / "ca.crt").write_bytes((self.directory / "ca.crt").read_bytes())
        # As the volume's defaultMode, with fsGroup.
        for path in folder.iterdir():
            os.chown(path, owner, owner)
            os.chmod(path, 0o440)
        return folder

    def certificate(self, documents, component, owner=0):
        (spec,) = [each["spec"] for each in documents if each["kind"] == "Certificate" and each["metadata"]["name"] == f"cowherd-{component}"]
        names = [f"DNS:{name}" for name in spec["dnsNames"]] + [f"URI:{uri}" for uri in spec["uris"]]
        return self.sign(component, names, [USAGES[usage] for usage in spec["usages"] if usage in USAGES], owner)


class ContainerTest(ClusterTest):
    podman = None

    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(run("mktemp", "-d", "-p", os.environ.get("COWHERD_TEST_DIR", "/var/tmp")).stdout.decode().strip())
        cls.addClassCleanup(run, "rm", "-rf", cls.top)
        cls.podman = Podman(cls.top)
        cls.addClassCleanup(cls.podman, "system", "reset", "--force")
        cls.podman("import", base_image(cls.top), "localhost/base")
        run(REPOSITORY / "deploy/container/build.sh", IMAGE, "localhost/base", env=cls.podman.environment)

    def pod(self, name, documents, component, folders, address, fields):
        """Starts the pod of a component; its address is told by DNS, where the manifests have it."""
        pod = manifests.workload(documents, component)
        container = pod["containers"][0]
        folder = self.directory / f"config-{name}"
        folder.mkdir(mode=0o755)
        (folder / f"{component}.ini").write_text(manifests.config(documents, component))
        hosts = [f"--add-host=cowherd-node.cowherd.svc:{NODE_IP}", f"--add-host=etcd.etcd.svc:{ETCD_IP}"]
        hosts += [f"--add-host=cowherd-controllers.cowherd.svc:{each}" for each in CONTROLLER_IPS]
        # The Service may lead to any of them: to the one that is asked here.
        hosts.append(f"--add-host=cowherd-controller.cowherd.svc:{address}")
        # A pod's 0.0.0.0 is its own address.
        listen = []
        for flag, port in (("LISTEN", "grpc"), ("METRICS_LISTEN", "metrics"), ("HEALTH_LISTEN", "health")):
            (number,) = [each["containerPort"] for each in container["ports"] if each["name"] == port]
            listen.append(f"--env=COWHERD_{flag}={address}:{number}")
        self.addCleanup(self.podman, "rm", "--force", "--ignore", "--time=0", name)
        given = [*rights(pod), *mounts(pod, {**folders, "config": folder}), *variables(pod, fields), *listen, *hosts]
        self.podman.start(name, given, *container["command"], *container["args"])
        wait_for(f"{name} serves", lambda: self.podman.serving(name))
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            with grpc.insecure_channel(f"{address}:{container[probe]['grpc']['port']}") as channel:
                check = channel.unary_unary("/grpc.health.v1.Health/Check")
                service = container[probe]["grpc"].get("service", "").encode()
                request = b"\x0a" + bytes([len(service)]) + service
                # As the kubelet does, which asks again.
                wait_for(f"{name}: {probe} is answered with SERVING", lambda: check(request, timeout=10) == b"\x08\x01")

    def command_line(self, name, *words, controller="cowherd-controller.cowherd.svc:7400"):
        """The command line as a person has it with kubectl exec."""
        tls = ["--tls_cert=/tls/tls.crt", "--tls_key=/tls/tls.key", "--tls_ca=/tls/ca.crt"]
        return self.podman("exec", name, "cowherd", *tls, *words, "--controller", controller)

    def end(self, *names):
        for name in names:
            self.podman("stop", "--time=30", name)
            self.assertEqual(self.podman("inspect", "--format={{.State.ExitCode}}", name).strip(), "0", name)

    def node_folders(self, authority, documents, filesystem):
        state = self.directory / f"state-{filesystem.kind}"
        state.mkdir(mode=0o700)
        return {"data": filesystem.path, "state": state, "tls": authority.certificate(documents, "node")}

    def test_dedupes_as_the_manifests_tell(self):
        documents = manifests.overlay("single")
        for kind in ("btrfs", "xfs"):
            with self.subTest(kind=kind):
                self.dedupe_on(kind, documents)

    def dedupe_on(self, kind, documents):
        filesystem = self.filesystem(kind)
        private = filesystem.path / "private"
        private.mkdir()
        write_random(private / "a", 32 * MIB, kind)
        (private / "b").write_bytes((private / "a").read_bytes())
        # Others' files in a folder that is closed to all but its owner.
        for path in (private / "a", private / "b"):
            os.chmod(path, 0o400)
            os.chown(path, 12345, 12345)
        os.chown(private, 12345, 12345)
        os.chmod(private, 0o700)
        filesystem.sync()
        before, free = checksums(filesystem.path), filesystem.free()

        authority = Authority(self.directory / f"authority-{kind}")
        store = self.directory / f"store-{kind}"
        store.mkdir(mode=0o700)
        os.chown(store, 65532, 65532)
        folders = self.node_folders(authority, documents, filesystem)
        self.pod(f"node-{kind}", documents, "node", folders, NODE_IP, {"spec.nodeName": "storage-1"})
        controller = f"controller-{kind}"
        secret = authority.certificate(documents, "controller", 65532)
        self.pod(controller, documents, "controller", {"store": store, "tls": secret}, CONTROLLER_IPS[0], {})
        self.assertIn("storage-1", wait_for("the node is found", lambda: self.up(controller)))
        job = json.loads(self.command_line(controller, "-o", "json", "job", "create", "--all", "--wait").splitlines()[-1])
        self.assertEqual(job["state"], "SUCCEEDED", job)
        self.assertGreaterEqual(int(job["totals"]["bytes_accepted"]), 32 * MIB)
        self.assertGreaterEqual(filesystem.free() - free, 31 * MIB)
        self.assertEqual(checksums(filesystem.path), before)
        self.assertTrue(any(folders["state"].rglob("*")), "the node kept no state")
        self.end(controller, f"node-{kind}")

    def up(self, controller):
        """The names of the nodes that are up, if any."""
        nodes = json.loads(self.command_line(controller, "-o", "json", "node", "list")).get("nodes", [])
        return [node["name"] for node in nodes if node["state"] == "NODE_UP"]

    def test_three_controllers_on_etcd_of_which_two_are_here(self):
        documents = manifests.overlay("ha")
        authority = Authority(self.directory / "authority")
        etcd = authority.sign("etcd", ["DNS:etcd.etcd.svc", f"IP:{ETCD_IP}"], USAGES.values())
        secret = authority.certificate(documents, "controller", 65532)
        client = authority.sign("etcd-client", ["DNS:cowherd"], ["clientAuth"], 65532)
        url = f"https://{ETCD_IP}:2379"
        with open(self.directory / "etcd.log", "wb") as log:
            server = subprocess.Popen(
                ["etcd", "--data-dir", self.directory / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
                 "--listen-peer-urls", f"http://{ETCD_IP}:2380", "--client-cert-auth", f"--trusted-ca-file={etcd}/ca.crt",
                 f"--cert-file={etcd}/tls.crt", f"--key-file={etcd}/tls.key", "--logger", "zap"],
                stdout=log, stderr=log,
            )  # fmt: skip
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        filesystem = self.filesystem("btrfs", 512)
        folders = self.node_folders(authority, documents, filesystem)
        self.pod("node-ha", documents, "node", folders, NODE_IP, {"spec.nodeName": "storage-1"})
        names = [f"controller-ha-{number}" for number in range(len(CONTROLLER_IPS))]
        for name, address in zip(names, CONTROLLER_IPS):
            self.pod(name, documents, "controller", {"etcd-tls": client, "tls": secret}, address, {"status.podIP": address})
        # Whichever of the two is asked, by the Service's name: the leader answers, though it is known by its number.
        for name in names:
            self.assertEqual(wait_for("the node is found", lambda: self.up(name)), ["storage-1"])
        self.command_line(names[0], "job", "create", "--all", "--wait")
        self.end(names[0])
        for _ in range(2):
            every = "cowherd-controllers.cowherd.svc:7400"
            self.assertIn("SUCCEEDED", self.command_line(names[1], "job", "list", controller=every))
        self.end(names[1], "node-ha")

    def test_holds_what_the_programs_need_and_no_more(self):
        said = json.loads(self.podman("inspect", "--type=image", IMAGE))[0]
        self.assertEqual(said["Config"]["User"], "65532:65532")
        commit, when = run("git", "-C", REPOSITORY, "log", "-1", "--format=%H %ct").stdout.decode().split()
        when = datetime.datetime.fromtimestamp(int(when), datetime.timezone.utc)
        labels = {key.removeprefix("org.opencontainers.image."): value for key, value in said["Config"]["Labels"].items()}
        labels = {key: labels[key] for key in ("title", "licenses", "version", "revision", "created")}
        self.assertEqual(labels, {
            "title": "cowherd", "licenses": "Apache-2.0", "version": VERSION, "revision": commit,
            "created": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        })  # fmt: skip
        self.assertEqual(said["Created"][:19], when.strftime("%Y-%m-%dT%H:%M:%S"))
        script = "for program in cowherd cowherd-node cowherd-controller; do $program --version; echo; ldd $(command -v $program); done"
        self.addCleanup(self.podman, "rm", "--force", "--ignore", "look")
        self.podman.start("look", ["--read-only"], "sh", "-c", script)
        wait_for("the look ends", lambda: self.podman("inspect", "--format={{.State.Running}}", "look").strip() == "false")
        text = self.podman("logs", "look")
        versions = [run(BIN / program, "--version").stdout.decode().strip() for program in PROGRAMS]
        self.assertEqual([line for line in text.splitlines() if line in versions], versions, text)
        self.assertNotIn("not found", text)


if __name__ == "__main__":
    unittest.main()
