#!/usr/bin/python3
"""Watches of jobs on real processes: what a thousand cost, readers that do not read, controllers and nodes that die or freeze."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
import unittest

import cluster
from cluster import MIB, wait_for, write_random

LOAD = cluster.BIN / "tests/bench/watch_load"
WATCHES = 1000
# Of the controller's memory, for each idle watcher that has a connection of its own.
BYTES_A_WATCH = 64 << 10
# How long a frozen peer may go unnoticed, as client/channel.h and grpc_node_link.h say; and some for a busy machine.
SILENCE = 15
SLACK = 5


def finish(process):
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class Load:
    """tests/bench/watch_load."""

    def __init__(self, test, server, job, watches, channels, slow=0):
        self.process = subprocess.Popen(
            [LOAD, server.address, job, str(watches), str(channels), str(slow)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        test.addCleanup(finish, self.process)
        test.assertEqual(self.process.stdout.readline(), "open\n")

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return tuple(map(int, self.process.stdout.readline().split()))

    def read(self):
        self.process.stdin.write("read\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        return self.process.wait(60)


def memory(server):
    """Threads, and bytes of memory in use."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["Threads"]), int(fields["VmRSS"].split()[0]) << 10


@contextlib.contextmanager
def frozen(server):
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield time.monotonic()
    finally:
        server.process.send_signal(signal.SIGCONT)


class WatchTest(cluster.ClusterTest):
    def idle_controller(self, nodes=1):
        """A controller with a job that waits for nodes which are not there."""
        names = [f"--node=n{i}=127.0.{i // 250}.{i % 250 + 1}:1" for i in range(nodes)]
        store = self.directory / f"idle{self.servers}.db"
        controller = self.server(cluster.CONTROLLER, f"--store={store}", "--probe_interval=1h",
                                 "--lost_after=10h", *names).start()
        wait_for("nodes are down", lambda: all(
            node["state"] == "NODE_DOWN" for node in self.cowherd(
                "-o", "json", "node", "list", "--controller", controller.address)["nodes"]), 60)
        return controller, self.create_job(controller, "--all")

    def watch(self, addresses, job):
        """The command line's watch, under way; its output as JSON lines goes to a file."""
        out = open(self.directory / f"watch{time.monotonic_ns()}", "w+b")
        self.addCleanup(out.close)
        process = subprocess.Popen(
            [cluster.COWHERD, "-o", "json", "job", "watch", "--controller", addresses, job],
            stdout=out, stderr=subprocess.PIPE)
        self.addCleanup(finish, process)
        os.set_blocking(process.stderr.fileno(), False)

        def seen():
            out.seek(0)
            lines = out.read().splitlines(keepends=True)
            return [json.loads(line) for line in lines if line.endswith(b"\n")]

        process.seen = seen
        wait_for("the watch is on", seen)
        return process

    def check_revisions(self, jobs):
        revisions = [int(job["revision"]) for job in jobs]
        self.assertEqual(revisions, sorted(set(revisions)))

    def test_a_thousand_idle_watchers(self):
        for connections in (8, WATCHES):
            controller, job = self.idle_controller()
            # The first ones make the server warm.
            warm = Load(self, controller, job, 8, 8)
            before = memory(controller)
            load = Load(self, controller, job, WATCHES - 8, min(connections, WATCHES - 8))
            after = memory(controller)
            each = (after[1] - before[1]) / (WATCHES - 8)
            print(f"{WATCHES} watches over {connections} connections: {before[0]} threads, then {after[0]}; "
                  f"{each / 1024:.1f} KiB a watch", flush=True)
            self.assertLessEqual(after[0] - before[0], 8)
            self.assertLessEqual(each, BYTES_A_WATCH)
            # No more are taken, and who is there still hears.
            text = self.cowherd("job", "watch", "--controller", controller.address, job, code=1)
            self.assertIn("TOO_MANY_WATCHES", text)
            self.cowherd("job", "pause", "--controller", controller.address, job)
            self.cowherd("job", "resume", "--controller", controller.address, job)
            revision = int(self.job(controller, job)["revision"])
            wait_for("all have heard", lambda: load.ask("seen") == (revision, revision))
            for one in (load, warm):
                self.assertEqual(one.end(), 0)
            wait_for("their places are free", lambda: Load(self, controller, job, 1, 1).end() == 0)
            controller.stop()

    def test_readers_that_do_not_read(self):
        controller, job = self.idle_controller(nodes=2000)
        size = len(json.dumps(self.job(controller, job)))
        slow = 50
        load = Load(self, controller, job, slow + 2, slow + 2, slow)
        _, before = memory(controller)
        for _ in range(30):
            for step in ("pause", "resume"):
                self.cowherd("job", step, "--controller", controller.address, job)
        revision = int(self.job(controller, job)["revision"])
        self.assertGreaterEqual(revision, 60)
        wait_for("those that read have heard", lambda: load.ask("seen") == (revision, revision))
        _, after = memory(controller)
        print(f"{slow} watchers that do not read, a job of {size >> 10} KiB (JSON), {revision} changes: "
              f"{(after - before) / slow / size:.1f} times the job for each", flush=True)
        # What is on its way and what comes next, each in more than one form; not all that has been.
        self.assertLess(after - before, 4 * slow * size)
        load.read()
        wait_for("the slow ones have the latest", lambda: load.ask("slow")[1] == revision)
        # gRPC and the kernel hold some messages of each stream; the rest was left out.
        self.assertLess(load.ask("slow")[0], 30)
        self.assertEqual(load.end(), 0)

    def node_with_data(self):
        filesystem = self.filesystem("btrfs")
        for copy in range(4):
            write_random(filesystem.path / f"copy{copy}", 24 * MIB, 1)
        filesystem.sync()
        return self.node("one", f"data={filesystem.path}").start()

    def test_a_watch_survives_kill_9_of_the_controller(self):
        node = self.node_with_data()
        controller = self.controller({"one": node}).start()
        wait_for("the node is up", lambda: self.state_of(controller, "one") == "NODE_UP")
        job = self.create_job(controller, "--all", "--bytes_per_second", "16m")
        watch = self.watch(f"127.0.0.1:1,{controller.address}", job)
        for _ in range(2):
            count = len(watch.seen())
            wait_for("the watch goes on", lambda: len(watch.seen()) > count)
            controller.kill()
            time.sleep(0.5)
            controller.start()
        self.assertEqual(watch.wait(60), 0)
        seen = watch.seen()
        self.assertEqual(seen[-1]["state"], "SUCCEEDED")
        self.check_revisions(seen)
        self.assertIn(b"the controller is gone", watch.stderr.read())

    def state_of(self, controller, name):
        nodes = self.cowherd("-o", "json", "node", "list", "--controller", controller.address)["nodes"]
        return next((node["state"] for node in nodes if node["name"] == name), None)

    def test_frozen_peers_are_noticed(self):
        # Silent for longer than gRPC pings by itself, before it is frozen.
        idle, idle_job = self.idle_controller()
        watch = self.watch(idle.address, idle_job)
        silent_since = time.monotonic()

        node = self.node_with_data()
        controller = self.controller({"one": node}).start()
        wait_for("the node is up", lambda: self.state_of(controller, "one") == "NODE_UP")
        job = self.create_job(controller, "--all", "--bytes_per_second", "8m")
        task = lambda: self.job(controller, job)["tasks"][0]
        wait_for("the task runs", lambda: task()["state"] == "TASK_RUNNING")
        with frozen(node) as begin:
            wait_for("the node is down", lambda: self.state_of(controller, "one") == "NODE_DOWN", 5)
            wait_for("the task waits", lambda: task()["state"] == "TASK_WAITING", SILENCE + SLACK)
            print(f"a frozen node's task waits after {time.monotonic() - begin:.1f} s", flush=True)
        done = self.wait_job(controller, job, "SUCCEEDED")
        self.assertEqual(done["tasks"][0]["attempt"], 1)
        self.assertEqual(int(done["totals"]["bytes_accepted"]), 3 * 24 * MIB)

        time.sleep(max(0, silent_since + 35 - time.monotonic()))
        with frozen(idle) as begin:
            # One that has no connection yet is faster: another controller is asked.
            self.cowherd("job", "get", "--controller", f"{idle.address},{controller.address}", job)
            self.assertLess(time.monotonic() - begin, 2 + SLACK)
            said = b""

            def gone():
                nonlocal said
                said += watch.stderr.read() or b""
                return b"the controller is gone" in said

            wait_for("the watch notices", gone, SILENCE + SLACK)
            print(f"a watch notices a frozen controller after {time.monotonic() - begin:.1f} s", flush=True)
        self.cowherd("job", "cancel", "--controller", idle.address, idle_job)
        self.assertEqual(watch.wait(60), 1)
        self.assertEqual(watch.seen()[-1]["state"], "CANCELLED")
        self.check_revisions(watch.seen())


if __name__ == "__main__":
    unittest.main(verbosity=2)
