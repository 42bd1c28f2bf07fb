#!/usr/bin/python3
"""What a job says beforehand, and how it spares the machine: estimate, rate, I/O class, limits given as flags."""

import os
import pathlib
import subprocess
import unittest

import cluster
from cluster import MIB, NODE, checksums, run, wait_for, write_random


def write_changed(path, original, every):
    """The original's bytes, but that the ninth block of each stretch differs; gone to disk."""
    data = bytearray(original.read_bytes())
    for offset in range(8 * 4096, len(data), every):
        data[offset] ^= 1
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class GentleTest(cluster.ClusterTest):
    def start(self, filesystem, flags=()):
        node = self.node("one", f"data={filesystem.path}", flags=flags).start()
        controller = self.controller({"one": node}).start()
        wait_for("the node is up", lambda: "NODE_UP" in self.cowherd(
            "-o", "json", "node", "list", "--controller", controller.address)["nodes"][0]["state"])
        return node, controller

    def test_the_estimate_comes_true(self):
        filesystem = self.filesystem("btrfs")
        write_random(filesystem.path / "image", 96 * MIB, 1)
        write_changed(filesystem.path / "clone", filesystem.path / "image", MIB // 4)
        for copy in range(200):
            # Of other seeds: the image does not begin with any.
            write_random(filesystem.path / f"small{copy}", 24 << 10, 2 + copy % 50)
        filesystem.sync()
        sums = checksums(filesystem.path)
        node, controller = self.start(filesystem)
        dry = self.wait_job(controller, self.create_job(controller, "--all", "--dry_run"), "SUCCEEDED")["totals"]
        freeable, moved = int(dry["bytes_freeable"]), int(dry["bytes_moved"])
        # A block that is alone between two extents is not found.
        self.assertAlmostEqual(moved, 96 * 4 * 4096, delta=16 * 4096)
        self.assertEqual(freeable, 96 * MIB - moved + 150 * (24 << 10))
        # All that is equal, each file once.
        self.assertAlmostEqual(int(dry["bytes_read"]), 2 * 96 * MIB + 200 * (24 << 10), delta=2 * MIB)
        self.assertEqual(int(dry["bytes_accepted"]), 0)
        self.assertEqual(int(dry["bytes_won"]), 0)

        free = filesystem.free()
        real = self.wait_job(controller, self.create_job(controller, "--all"), "SUCCEEDED")["totals"]
        won = int(real["bytes_won"])
        self.assertLess(abs(freeable - won), won * 0.02)
        self.assertLess(abs(freeable - (filesystem.free() - free)), won * 0.02)
        self.assertEqual(int(real["bytes_freeable"]), freeable)
        self.assertEqual(int(real["bytes_moved"]), moved)
        self.assertEqual(checksums(filesystem.path), sums)
        _, samples = node.metrics()
        self.assertEqual(samples['cowherd_node_freeable_bytes_total{volume="data"}'], 2 * freeable)
        self.assertEqual(samples['cowherd_node_scan_source_files_total{volume="data",source="reading"}'], 0)
        self.assertGreater(samples['cowherd_node_scan_source_files_total{volume="data",source="checksums"}'], 200)
        self.assertEqual(samples["cowherd_node_index_budget_bytes"], 256 * MIB)

    def told_of_reading(self, filesystem):
        """What the node logs of why a scan of two files reads both."""
        for copy in range(2):
            write_random(filesystem.path / f"copy{copy}", 4 * MIB, 1)
        node, controller = self.start(filesystem)
        self.wait_job(controller, self.create_job(controller, "--all", "--dry_run"), "SUCCEEDED")
        _, samples = node.metrics()
        self.assertEqual(samples['cowherd_node_scan_source_files_total{volume="data",source="reading"}'], 2)
        self.assertEqual(samples['cowherd_node_scan_source_files_total{volume="data",source="checksums"}'], 0)
        told = [line for line in node.log_lines() if line["msg"] == "scan by reading"]
        self.assertEqual(len(told), 1)
        return told[0]

    def test_xfs_is_read_and_the_log_tells_why(self):
        told = self.told_of_reading(self.filesystem("xfs", 512))
        self.assertEqual(told["filesystem"], "xfs")
        self.assertIn("keeps no checksums of data", told["reason"])

    def test_files_without_checksums_are_read_and_the_log_tells_why(self):
        filesystem = self.filesystem("btrfs", 512)
        run("chattr", "+C", filesystem.path)
        told = self.told_of_reading(filesystem)
        self.assertEqual(told["files"], 2)
        self.assertIn("no checksums (nodatasum)", told["reason"])

    def test_what_does_not_pay_is_left(self):
        filesystem = self.filesystem("btrfs", 512)
        write_random(filesystem.path / "image", 32 * MIB, 1)
        write_changed(filesystem.path / "clone", filesystem.path / "image", MIB // 4)
        filesystem.sync()
        _, controller = self.start(filesystem)
        for flags, left in (
            (["--min_freed_per_moved", "1000"], "bytes_unprofitable"),
            (["--max_extents_per_file", "100"], "bytes_fragmenting"),
        ):
            totals = self.wait_job(controller, self.create_job(controller, "--all", *flags), "SUCCEEDED")["totals"]
            self.assertEqual(int(totals["bytes_accepted"]), 0)
            self.assertAlmostEqual(int(totals[left]), 32 * MIB - 32 * 4 * 4096, delta=16 * 4096)

    def test_the_rate_holds_and_threads_are_idle(self):
        filesystem = self.filesystem("btrfs")
        for copy in range(3):
            write_random(filesystem.path / f"copy{copy}", 64 * MIB, 1)
        filesystem.sync()
        node, controller = self.start(filesystem)
        rate = 12 * MIB
        job = self.create_job(controller, "--all", "--bytes_per_second", str(rate))

        def classes():
            tasks = pathlib.Path(f"/proc/{node.process.pid}/task").iterdir()
            return [subprocess.run(["ionice", "-p", task.name], capture_output=True, text=True).stdout.strip()
                    for task in tasks]

        wait_for("threads of the scan are idle", lambda: "idle" in classes(), 10)
        totals = self.wait_job(controller, job, "SUCCEEDED")["totals"]
        seconds = float(totals["elapsed"].rstrip("s"))
        # Each place once, each source once for two places. One second is saved up, and the last group is not waited for.
        expected = 3 * 64 * MIB / rate
        self.assertGreater(seconds, 0.8 * expected)
        self.assertLess(seconds, 1.2 * expected)
        throttled = node.metrics()[1]['cowherd_node_throttled_seconds_total{volume="data",cause="rate"}']
        self.assertGreater(throttled, 0.5 * seconds)
        self.assertAlmostEqual(throttled, int(totals["rate_wait_ns"]) * 1e-9, places=3)
        self.assertNotIn("idle", classes())

    def test_flags_that_cannot_be(self):
        for flag, says in (
            ("--io_class=fast", "--io_class"),
            ("--max_io_pressure=100", "--max_io_pressure"),
            ("--index_budget_mib=0", "--index_budget_mib"),
        ):
            done = subprocess.run([NODE, f"--root=data={self.directory}", flag], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(says, done.stderr)


if __name__ == "__main__":
    unittest.main()
