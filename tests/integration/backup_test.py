#!/usr/bin/python3
"""Backup and restore as deploy/README.md has them, word for word but for the places."""

import subprocess
import unittest

import cluster
import etcd
from cluster import CONTROLLER, REPOSITORY, wait_for

GUIDE = REPOSITORY / "deploy/README.md"


class BackupTest(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        root = self.directory / "root"
        root.mkdir()
        self.node_one = self.node("one", f"data={root}").start()
        for name in ("store", "backup"):
            (self.directory / name).mkdir()
        self.etcd = etcd.Etcd(self.directory, members=1)
        self.addCleanup(self.etcd.stop)

    def command(self, *parts):
        """The line of the guide that has all of these, with the test's own places."""
        lines = [line.strip() for line in GUIDE.read_text().splitlines() if line.startswith("    cowherd-controller ")]
        line, = [line for line in lines if all(part in line for part in parts)]
        for place, ours in (
            ("/var/lib/cowherd-controller", self.directory / "store"), ("/srv/backup", self.directory / "backup"),
            ("etcd-1.example:2379", self.etcd.clients[0]), ("cowherd-controller ", f"{CONTROLLER} "),
        ):
            line = line.replace(place, str(ours))
        self.assertNotIn("example", line)
        return line.split()

    def fill(self, controller):
        """What `controller` has after it was asked to keep something of each kind."""
        address = ["--controller", controller.address]
        wait_for("it leads", lambda: subprocess.run(
            [cluster.COWHERD, "cluster", "pause", *address, "--reason", "kept"], capture_output=True).returncode == 0)
        self.create_job(controller, "--all", "--display_name", "kept")
        self.cowherd("schedule", "create", "nightly", *address, "--cron", "30 2 * * *", "--all")
        self.cowherd("node", "window", "set", "one", *address, "--window", "0 20 * * * for 10h")
        return self.kept(controller)

    def kept(self, controller):
        ask = lambda *words: self.cowherd("-o", "json", *words, "--controller", controller.address)
        job, = ask("job", "list")["jobs"]
        return (
            job["id"], job["spec"], ask("schedule", "get", "nightly")["spec"], ask("node", "window", "list"),
            self.cowherd("cluster", "show", "--controller", controller.address),
        )

    def run_command(self, *parts):
        done = subprocess.run(self.command(*parts), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"msg":"copied"', done.stderr)

    def serve(self, store):
        flags = [] if not str(store).startswith("etcd") else ["--lease=3s"]
        controller = self.controller({"one": self.node_one}, flags=flags, store=store)
        controller.start()
        wait_for("it leads", lambda: controller.metrics()[1]["cowherd_controller_leads"] == 1)
        return controller

    def test_a_wrong_store_does_not_replace_a_backup(self):
        backup = self.directory / "backup/cowherd.backup"
        backup.write_text("yesterday's")
        for parts in (("jobs.db",), ("etcd:",)):
            if parts == ("etcd:",):
                self.etcd.start()
            refused = subprocess.run(self.command("controller backup", *parts), capture_output=True, text=True)
            self.assertEqual(refused.returncode, 1, refused.stderr)
            self.assertIn("--store", refused.stderr)
        self.assertEqual(backup.read_text(), "yesterday's")
        self.assertEqual([path.name for path in (self.directory / "backup").iterdir()], ["cowherd.backup"])
        self.assertEqual(list((self.directory / "store").iterdir()), [])

    def test_the_commands_of_the_guide(self):
        sqlite = self.serve(self.directory / "store/jobs.db")
        kept = self.fill(sqlite)
        in_use = subprocess.run(self.command("controller backup", "jobs.db"), capture_output=True, text=True)
        self.assertEqual(in_use.returncode, 1)
        self.assertIn("another", in_use.stderr)
        self.assertEqual(sqlite.stop(), 0)
        self.run_command("controller backup", "jobs.db")
        self.assertEqual([path.name for path in (self.directory / "backup").iterdir()], ["cowherd.backup"])

        self.etcd.start()
        self.run_command("restore", "cowherd-new")
        second = self.serve(self.etcd.store("cowherd-new"))
        self.assertEqual(self.kept(second), kept)
        self.assertEqual(second.stop(), 0)
        self.run_command("restore", "new.db")
        third = self.serve(self.directory / "store/new.db")
        self.assertEqual(self.kept(third), kept)
        self.assertEqual(third.stop(), 0)

        # From etcd, while a controller leads.
        fourth = self.serve(self.etcd.store("cowherd"))
        kept = self.fill(fourth)
        self.run_command("controller backup", "etcd:")
        (self.directory / "store/new.db").unlink()
        self.run_command("restore", "new.db")
        self.assertEqual(fourth.stop(), 0)
        fifth = self.serve(self.directory / "store/new.db")
        self.assertEqual(self.kept(fifth), kept)


if __name__ == "__main__":
    unittest.main(verbosity=2)
