#!/usr/bin/python3
"""What a node can do with fewer capabilities, and that it says what it cannot: in its log, its metrics and to its callers."""

import os
import unittest

import cluster
from cluster import MIB, checksums, wait_for, write_random

PROFILES = {
    "full": ("dac_read_search", "sys_admin"),
    "full-noatime": ("dac_read_search", "fowner", "sys_admin"),
    "walk": ("dac_override",),
    "estimate": ("dac_read_search",),
    "own-files": (),
}


class RightsTest(cluster.ClusterTest):
    def others_files(self, kind):
        """A filesystem with two equal files of somebody else's in a folder that is closed to all others."""
        filesystem = self.filesystem(kind, 512)
        private = filesystem.path / "private"
        private.mkdir()
        write_random(private / "a", 16 * MIB, kind)
        (private / "b").write_bytes((private / "a").read_bytes())
        for path, mode in ((private / "a", 0o400), (private / "b", 0o400), (private, 0o700)):
            os.chown(path, 12345, 12345)
            os.chmod(path, mode)
        filesystem.sync()
        return filesystem

    def node_with(self, profile, *roots):
        node = self.node(profile, *roots)
        bounds = ",".join(["-all", *(f"+{name}" for name in PROFILES[profile])])
        node.command = ["setpriv", f"--bounding-set={bounds}", "--inh-caps=-all", "--", *node.command]
        return node.start()

    def scan(self, node, *flags, code=0):
        """The job's totals."""
        controller = self.controller({node.log.stem: node}, store=self.directory / f"{node.log.stem}.db").start()
        job = self.cowherd("-o", "json", "job", "create", "--controller", controller.address, "--all", "--wait", *flags, code=code)
        job = job[-1] if isinstance(job, list) else job
        self.assertEqual(job["state"], "SUCCEEDED", job)
        note = self.cowherd("node", "list", "--controller", controller.address)
        controller.stop()
        return {key: int(value) for key, value in job["totals"].items() if str(value).lstrip("-").isdigit()}, note

    def said(self, node):
        """(capability, needed) of each line that tells what is missing."""
        return {
            (line["capability"], line["level"] == "warning")
            for line in node.log_lines()
            if line["msg"] == "a capability is missing"
        }

    def test_the_profiles_on_both_filesystems(self):
        for kind in ("btrfs", "xfs"):
            filesystem = self.others_files(kind)
            before = checksums(filesystem.path)
            # One after the other; the first that can share does.
            for profile in ("own-files", "estimate", "walk", "full-noatime", "full"):
                with self.subTest(kind=kind, profile=profile):
                    self.look_at(profile, kind, filesystem)
            self.assertEqual(checksums(filesystem.path), before)

    def look_at(self, profile, kind, filesystem):
        node = self.node_with(profile, f"data={filesystem.path}")
        shown = self.cowherd("-o", "json", "node", "show", "--node", node.address)
        self.assertEqual(shown["profile"], profile)
        held = {f"CAP_{name.upper()}" for name in PROFILES[profile]}
        self.assertEqual(set(shown.get("capabilities", [])), held)
        _, samples = node.metrics()
        for name in held:
            self.assertEqual(samples[f'cowherd_node_capability_info{{capability="{name}",profile="{profile}"}}'], 1)
        lacks = {(lack["capability"], lack.get("needed", False)) for lack in shown["roots"][0].get("lacks", [])}
        self.assertEqual(self.said(node), lacks)
        needed = {name for name, is_needed in lacks if is_needed}
        expected = {
            "own-files": {"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"},
            "estimate": {"CAP_SYS_ADMIN"},
        }.get(profile, set())
        self.assertEqual(needed, expected)
        for name in ("CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"):
            sample = f'cowherd_node_capability_missing{{volume="data",capability="{name}"}}'
            self.assertEqual(samples[sample], name in expected)
        root = next(line for line in node.log_lines() if line["msg"] == "root")
        self.assertEqual(root["by_checksums"], kind == "btrfs" and "sys_admin" in PROFILES[profile])

        # Ranges that fail are not hidden.
        totals, note = self.scan(node, code=1 if profile == "estimate" else 0)
        for name in expected:
            self.assertIn(f"lacks {name} on data", note)
        if not expected:
            self.assertNotIn("lacks", note)
        # What it says comes true.
        if profile == "own-files":
            self.assertEqual(totals.get("bytes_scanned", 0), 0)
        elif profile == "estimate":
            self.assertEqual(totals["duplicate_bytes"], 16 * MIB)
            self.assertEqual(totals.get("bytes_accepted", 0), 0)
            self.assertGreater(totals["ranges_failed"], 0)
        elif profile == "walk":
            self.assertEqual(totals["bytes_accepted"], 16 * MIB)
        self.assertEqual(node.stop(), 0)

    def test_an_estimate_on_a_read_only_root_lacks_nothing(self):
        for kind in ("btrfs", "xfs"):
            with self.subTest(kind=kind):
                filesystem = self.others_files(kind)
                view = self.directory / f"view-{kind}"
                view.mkdir()
                cluster.run("mount", "--bind", filesystem.path, view)
                self.addCleanup(cluster.run, "umount", view)
                cluster.run("mount", "-o", "remount,bind,ro", view)
                node = self.node_with("estimate", f"data={view}")
                _, samples = node.metrics()
                missing = [name for name, value in samples.items() if "capability_missing" in name and value]
                self.assertEqual(missing, [])
                self.assertTrue(all(not needed for _, needed in self.said(node)))
                totals, note = self.scan(node, "--dry_run")
                self.assertEqual(totals["duplicate_bytes"], 16 * MIB)
                self.assertNotIn("lacks", note)
                self.assertEqual(node.stop(), 0)

    def test_a_user_namespace_is_told(self):
        filesystem = self.others_files("btrfs")
        node = self.node("inside", f"data={filesystem.path}")
        node.command = ["unshare", "--user", "--map-root-user", *node.command]
        node.start()
        self.assertTrue(any("user namespace" in line["msg"] for line in node.log_lines()))
        shown = self.cowherd("-o", "json", "node", "show", "--node", node.address)
        self.assertEqual(shown["profile"], "own-files")
        needed = {lack["capability"] for lack in shown["roots"][0]["lacks"] if lack.get("needed")}
        self.assertEqual(needed, {"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"})
        wait_for("and counted", lambda: node.metrics()[1][
            'cowherd_node_capability_missing{volume="data",capability="CAP_SYS_ADMIN"}'] == 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
