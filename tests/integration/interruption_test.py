#!/usr/bin/python3
"""Jobs that are interrupted: the node killed, the job cancelled, no space left, files changed under it.

    interruption_test.py [--seed N] [--rounds N] [TEST...]

Everything random follows from the seed, which is printed; each round takes the next one. What the files hold is known
exactly at all times, and compared after each round, also after unmounting, checking and mounting the filesystem again.
"""

import argparse
import ctypes
import fcntl
import functools
import os
import random
import re
import subprocess
import sys
import threading
import time
import unittest

import cluster
from cluster import MIB, wait_for

KIB = 1024
BLOCK = 4096
FICLONE = 0x40049409  # linux/fs.h
PUNCH_HOLE = 3  # linux/falloc.h: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
OPTIONS = argparse.Namespace(seed=1, rounds=1)
LIBC = ctypes.CDLL(None, use_errno=True)


class Files:
    """A directory of files that are duplicate in many ways, and what each of them must hold. One thread changes it."""

    def __init__(self, directory, seed):
        self.directory = directory
        self.random = random.Random(seed)
        self.contents = {}
        self.names = 0
        self.regions = [self.random.randbytes(128 * KIB) for _ in range(24)]

    def grow(self, images, small):
        for _ in range(images):
            parts = [self.region() for _ in range(self.random.randrange(8, 40))]
            self.create(b"".join(parts))
        for _ in range(small):
            region = self.random.choice(self.regions)
            self.create(region[: self.random.randrange(1, len(region))])
        cluster.run("sync", "-f", self.directory)

    def region(self):
        data = self.random.choice(self.regions)
        luck = self.random.random()
        if luck < 0.2:
            at = self.random.randrange(0, len(data) // BLOCK) * BLOCK
            return data[:at] + self.random.randbytes(BLOCK) + data[at + BLOCK :]
        if luck < 0.3:
            return data[3 * BLOCK :] + data[: 3 * BLOCK]
        return bytes(len(data)) if luck < 0.35 else data

    def path(self, name):
        return os.path.join(self.directory, name)

    def new_name(self):
        self.names += 1
        return f"f{self.names}"

    def create(self, data, name=None):
        name = name or self.new_name()
        with open(self.path(name), "wb") as file:
            file.write(data)
        self.contents[name] = bytearray(data)

    def change(self):
        """One random change, or one look at a file. A mistake in what a file holds shows here, too."""
        name = self.random.choice(list(self.contents))
        data = self.contents[name]
        at = self.random.randrange(0, len(data) + 1)
        kind = self.random.choice(
            ["write", "write", "block", "truncate", "extend", "rename", "delete", "replace", "create", "clone", "punch", "read"]
        )
        if kind in ("write", "block"):
            new = self.random.choice(self.regions)[: self.random.randrange(1, 64 * KIB)]
            if kind == "block":
                at, new = at // BLOCK * BLOCK, self.random.randbytes(BLOCK)
            with open(self.path(name), "r+b") as file:
                file.seek(at)
                file.write(new)
            data[at : at + len(new)] = new
        elif kind in ("truncate", "extend"):
            size = at if kind == "truncate" else len(data) + self.random.randrange(1, 3 * BLOCK)
            os.truncate(self.path(name), size)
            self.contents[name] = data[:size] + bytes(max(0, size - len(data)))
        elif kind == "rename":
            other = self.new_name()
            os.rename(self.path(name), self.path(other))
            self.contents[other] = self.contents.pop(name)
        elif kind == "delete" and len(self.contents) > 20:
            os.unlink(self.path(name))
            del self.contents[name]
        elif kind == "replace":
            new = self.region() + self.region()
            self.create(new, "new")
            os.rename(self.path("new"), self.path(name))
            self.contents[name] = self.contents.pop("new")
        elif kind == "create" and len(self.contents) < 200:
            self.create(self.region() + self.region()[: self.random.randrange(1, BLOCK)])
        elif kind == "clone":
            other = self.new_name()
            with open(self.path(name), "rb") as source, open(self.path(other), "wb") as to:
                fcntl.ioctl(to.fileno(), FICLONE, source.fileno())
            self.contents[other] = bytearray(data)
        elif kind == "punch":
            length = self.random.randrange(1, 64 * KIB)
            with open(self.path(name), "r+b") as file:
                done = LIBC.fallocate(file.fileno(), PUNCH_HOLE, ctypes.c_long(at), ctypes.c_long(length))
                if done != 0:
                    raise OSError(ctypes.get_errno(), "fallocate")
            end = min(len(data), at + length)
            data[at:end] = bytes(end - at)
        elif kind == "read":
            self.check(name)

    def check(self, name):
        with open(self.path(name), "rb") as file:
            data = file.read()
        expected = self.contents[name]
        if data != expected:
            same = min(len(data), len(expected))
            first = next((i for i in range(same) if data[i] != expected[i]), same)
            raise AssertionError(f"{name}: {len(data)} bytes, expected {len(expected)}; the first that differs is {first}")

    def check_all(self):
        there = set(os.listdir(self.directory))
        if there != set(self.contents):
            raise AssertionError(f"files differ: {there ^ set(self.contents)}")
        for name in self.contents:
            self.check(name)


class Changes:
    """Changes files in a thread of its own from `with` to its end."""

    def __init__(self, files):
        self.files = files
        self.error = None
        self.done = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.ended.wait(0.001):
                self.files.change()
                self.done += 1
        except BaseException as error:  # told by the thread that waits
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        if self.error is not None:
            raise self.error


def rounds(test):
    """Runs a test for each filesystem and seed."""

    @functools.wraps(test)
    def run(self):
        for seed in range(OPTIONS.seed, OPTIONS.seed + OPTIONS.rounds):
            for kind in ("btrfs", "xfs"):
                print(f"{test.__name__} {kind} --seed {seed}", flush=True)
                with self.subTest(kind=kind, seed=seed):
                    test(self, kind, random.Random(f"{kind} {seed}"), seed)
                self.doCleanups()
                self.setUp()

    return run


class InterruptionTest(cluster.ClusterTest):
    def begin(self, kind, seed, size_mib=1024, images=14, small=60):
        """A filesystem with files, and servers on it."""
        filesystem = self.filesystem(kind, size_mib)
        data = filesystem.path / "data"
        data.mkdir()
        files = Files(data, seed)
        files.grow(images, small)
        directory = filesystem.path.parent
        # Others may keep the disk busy meanwhile: that is not to hold up the jobs.
        node = self.node("one", f"data={data}", flags=["--max_io_pressure=0"]).start()
        controller = self.server(
            cluster.CONTROLLER, f"--store={directory}/jobs.db", "--probe_interval=0.2s", f"--node=one={node.address}"
        ).start()
        self.wait_up(controller)
        return filesystem, files, node, controller

    def wait_up(self, controller):
        def up():
            nodes = self.cowherd("-o", "json", "node", "list", "--controller", controller.address)["nodes"]
            return nodes[0]["state"] == "NODE_UP"

        wait_for("the node is up", up)

    def end(self, filesystem, files, node, controller):
        """What must hold after every interruption. The servers run on."""
        files.check_all()
        free = filesystem.free()
        filesystem.unmount()  # fails if the idle node holds anything
        self.check_filesystem(filesystem)
        filesystem.mount()
        files.check_all()
        held = filesystem.free() - free
        self.assertGreater(held, -MIB)
        if filesystem.kind == "btrfs":  # XFS keeps what it reserved behind the ends of files until it is unmounted
            self.assertLess(held, MIB)
        self.run_job(controller)
        files.check_all()
        for server in (controller, node):
            self.assertEqual(server.stop(), 0)
        filesystem.unmount()
        self.check_filesystem(filesystem)

    def check_filesystem(self, filesystem):
        # It is unmounted for good when the loop device goes: a mount namespace made meanwhile may hold it for longer.
        wait_for("the loop device is gone", lambda: not cluster.run("losetup", "-j", filesystem.image).stdout, 60)
        check = ["xfs_repair", "-n"] if filesystem.kind == "xfs" else ["btrfs", "check", "--readonly"]
        checked = subprocess.run([*check, str(filesystem.image)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        if filesystem.kind == "xfs":
            return
        tree = cluster.run("btrfs", "inspect-internal", "dump-tree", filesystem.image).stdout
        self.assertEqual(re.findall(rb".*ORPHAN_ITEM.*", tree), [])

    def run_job(self, controller):
        job_id = self.create_job(controller, "--all")
        return self.wait_end(controller, job_id, "SUCCEEDED")["totals"]

    def wait_end(self, controller, job_id, *states):
        def ended():
            job = self.job(controller, job_id)
            return job if job["state"] in ("SUCCEEDED", "JOB_FAILED", "CANCELLED") else None

        job = wait_for("the job ends", ended, 60)
        self.assertIn(job["state"], states, job)
        return job

    def wait_idle(self, node):
        wait_for("the node's task ended", lambda: node.metrics()[1]["cowherd_node_tasks_running"] == 0, 10)

    def open_files(self, node, word):
        """Those whose paths hold the word."""
        directory = f"/proc/{node.process.pid}/fd"
        paths = []
        for fd in os.listdir(directory):
            try:
                paths.append(os.readlink(f"{directory}/{fd}"))
            except FileNotFoundError:
                pass
        return [path for path in paths if word in path]

    def no_unlinked_file_is_open(self, node):
        self.assertEqual(self.open_files(node, "(deleted)"), [])

    @rounds
    def test_kill_9_of_the_node(self, kind, luck, seed):
        filesystem, files, node, controller = self.begin(kind, seed)
        # Of one job, a second kill would set the task aside: it would seem to bring its node down.
        for last in (False, False, True):
            job_id = self.create_job(controller, "--all", "--bytes_per_second", "48m")
            time.sleep(luck.uniform(0, 1.2))
            node.kill()
            files.check_all()
            node.start()
            if not last:
                self.cowherd("job", "cancel", "--controller", controller.address, job_id)
                self.wait_end(controller, job_id, "CANCELLED", "SUCCEEDED")
        self.wait_end(controller, job_id, "SUCCEEDED")
        self.wait_idle(node)
        self.no_unlinked_file_is_open(node)
        self.end(filesystem, files, node, controller)

    @rounds
    def test_cancel(self, kind, luck, seed):
        filesystem, files, node, controller = self.begin(kind, seed)
        job_id = self.create_job(controller, "--all", "--bytes_per_second", "48m")
        time.sleep(luck.uniform(0, 1.5))
        self.cowherd("job", "cancel", "--controller", controller.address, job_id)
        self.wait_end(controller, job_id, "CANCELLED", "SUCCEEDED")
        self.wait_idle(node)
        self.no_unlinked_file_is_open(node)
        self.end(filesystem, files, node, controller)

    @rounds
    def test_unmount_while_running(self, kind, luck, seed):
        filesystem, files, node, controller = self.begin(kind, seed)
        job_id = self.create_job(controller, "--all", "--bytes_per_second", "4m")
        wait_for("the node holds the filesystem", lambda: self.open_files(node, str(filesystem.path)))
        refused = subprocess.run(["umount", str(filesystem.path)], capture_output=True)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(b"busy", refused.stderr)
        self.cowherd("job", "cancel", "--controller", controller.address, job_id)
        self.wait_end(controller, job_id, "CANCELLED")
        self.wait_idle(node)
        self.end(filesystem, files, node, controller)

    @rounds
    def test_files_change_meanwhile(self, kind, luck, seed):
        filesystem, files, node, controller = self.begin(kind, seed)
        with Changes(files) as changes:
            for _ in range(2):
                job_id = self.create_job(controller, "--all", "--bytes_per_second", "64m")
                self.wait_end(controller, job_id, "SUCCEEDED")
            job_id = self.create_job(controller, "--all", "--bytes_per_second", "64m")
            time.sleep(luck.uniform(0, 1))
            node.kill()
            node.start()
            self.wait_end(controller, job_id, "SUCCEEDED")
        self.assertGreater(changes.done, 100)
        self.wait_idle(node)
        self.no_unlinked_file_is_open(node)
        self.end(filesystem, files, node, controller)

    @rounds
    def test_no_space_left(self, kind, luck, seed):
        filesystem, files, node, controller = self.begin(kind, seed, 400, images=20)
        # Outside the root. Filled until nothing more goes in, then a little given back.
        fill = filesystem.path / "fill"
        with open(fill, "wb", buffering=0) as file:
            size = MIB
            while size >= BLOCK:
                try:
                    file.write(bytes(size))
                    os.fsync(file.fileno())
                except OSError:
                    size //= 2
            end = file.seek(0, os.SEEK_END)
            file.truncate(end - luck.choice([0, BLOCK, 64 * KIB, MIB, 8 * MIB]))
        filesystem.sync()
        self.run_job(controller)
        files.check_all()
        self.no_unlinked_file_is_open(node)
        fill.unlink()
        self.end(filesystem, files, node, controller)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the first round (default 1)")
    parser.add_argument("--rounds", type=int, default=1, help="of each test on each filesystem (default 1)")
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
