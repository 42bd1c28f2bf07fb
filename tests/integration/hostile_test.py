#!/usr/bin/python3
"""Names that somebody made up to do harm: series stay as few as they were, log lines whole, and terminals as they are."""

import re
import subprocess
import unittest

import grpc

import cluster
import schedule_test
from cluster import MIB, wait_for, write_random

# Moves the cursor, clears the screen, rings, ends a line, turns the text around, is no UTF-8; the word tells where it went.
EVIL = "evil\x1b[2J\x07\r\n\x7f\x9b\u202e\u2028\"}{"
EVIL_BYTES = EVIL.encode() + b"\xff\xfe"
MANY = 300
# All but line feeds and printable text.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2060-\u206f\u2028\u2029]")


class HostileTest(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        self.filesystem = self.filesystem("btrfs", 512)
        folder = self.filesystem.path / "evil\x1b[2J\n"
        folder.mkdir()
        for copy in range(2):
            write_random(folder / f"copy{copy}\x1b\r", MIB, 1)
        self.filesystem.sync()
        # Nobody keeps a machine's own administrator from that.
        self.node = self.node(
            EVIL, f"data={self.filesystem.path}", f"gone={self.directory}/gone", flags=[f"--label={EVIL}={EVIL}"]
        ).start()
        made_up = [f"--node=evil-{i}=127.1.1.{i % 250}:{1 + i // 250}" for i in range(MANY)]
        self.controller = self.controller({}, flags=[f"--node_dns={self.node.address}", *made_up]).start()
        schedule_test.read_protos(self.directory)
        from cowherd.v1 import controller_pb2, node_pb2

        self.controller_pb2, self.node_pb2 = controller_pb2, node_pb2
        wait_for("the node is up", lambda: self.up() == 1)

    def up(self):
        return self.controller.metrics()[1]['cowherd_controller_nodes{state="up"}']

    def call(self, server, method, request, client=""):
        """Whatever the answer is."""
        with grpc.insecure_channel(server.address, options=[("grpc.primary_user_agent", client)]) as channel:
            try:
                return channel.unary_unary(method)(request, timeout=20)
            except grpc.RpcError as error:
                return error

    def attack(self):
        protos, node = self.controller_pb2, self.node_pb2
        service = "/cowherd.v1.ControllerService"
        for i in range(MANY):
            name = f"{EVIL} {i}"
            self.call(self.controller, f"{service}/Evil{i}", b"")
            self.call(self.node, f"/evil.v1.Service{i}/Evil", b"", client=f"evil{i}")
            job = protos.CreateJobRequest(request_id=f"evil-{i}", spec=protos.JobSpec(display_name=name))
            job.spec.scan.nodes.names.names.append(EVIL)
            job.spec.scan.roots.append(name)
            self.call(self.controller, f"{service}/CreateJob", job.SerializeToString(), client=f"evil{i}")
            job.request_id = name
            job.spec.scan.nodes.names.names.append(name)
            self.call(self.controller, f"{service}/CreateJob", job.SerializeToString())
            for method in ("GetJob", "CancelJob", "PauseJob", "DeleteJob"):
                self.call(self.controller, f"{service}/{method}", protos.GetJobRequest(id=name).SerializeToString())
            schedule = protos.CreateScheduleRequest(name=f"evil-{i}")
            schedule.spec.cron = "0 0 1 1 *"
            schedule.spec.job.display_name = name
            schedule.spec.job.scan.nodes.all = True
            self.call(self.controller, "/cowherd.v1.ScheduleService/CreateSchedule", schedule.SerializeToString())
            ranges = node.DedupeRangesStreamRequest().request
            ranges.source.path = b"/" + EVIL_BYTES + str(i).encode()
            ranges.length = 4096
            ranges.destinations.add().path = ranges.source.path
            self.call(self.node, "/cowherd.v1.NodeService/DedupeRanges", ranges.SerializeToString(), client=f"evil{i}")
            order = node.RunTaskRequest(task_id=name, job_id=name, attempt=1)
            order.scan.root = name
            self.call(self.node, "/cowherd.v1.NodeService/RunTask", order.SerializeToString())

    def test_series_logs_and_terminals(self):
        servers = {"node": self.node, "controller": self.controller}
        self.attack_once_in_good_order()
        before = {name: len(server.metrics()[1]) for name, server in servers.items()}
        self.attack()
        for name, server in servers.items():
            text, samples = server.metrics()
            done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
            told = [line for line in text.splitlines() if "evil" in line.lower()]
            # A schedule's name is of a-z, 0-9 and "-", and 200 have series of their own, of three kinds.
            schedules = [line for line in told if re.match(r'cowherd_controller_schedule_\w+\{schedule="[a-z0-9-]+"\} ', line)]
            self.assertEqual(told, schedules)
            self.assertEqual(len({re.search('"(.*)"', line)[1] for line in schedules}), 200 if name == "controller" else 0)
            # What is new besides are status codes of methods that there are.
            codes = [sample for sample in samples if sample.startswith("grpc_server_")]
            self.assertLess(len(codes), 300)
            self.assertLessEqual(len(samples) - len(codes) - len(schedules), before[name])
            self.assertLess(len(samples), 1200)
        self.assertEqual(self.controller.metrics()[1]["cowherd_controller_schedules_left_out"], MANY - 200)

        for server in servers.values():
            log = server.log.read_bytes().decode()
            self.assertEqual(CONTROL.findall(log.replace("\n", "")), [])
            server.log_lines()
        self.look_at_everything()
        for server in servers.values():
            self.assertEqual(server.stop(), 0)

    def attack_once_in_good_order(self):
        """So that every series is there that good use makes."""
        self.cowherd("job", "create", "--controller", self.controller.address, "--name", EVIL, "--root", "data", "--wait")
        self.cowherd("find", "--node", self.node.address, "--root", "data", str(self.filesystem.path))

    def look_at_everything(self):
        controller = ["--controller", self.controller.address]
        some = self.cowherd("-o", "json", "job", "list", *controller)
        some = some if isinstance(some, list) else [some]
        jobs = [job["id"] for page in some for job in page.get("jobs", [page])][:3]
        commands = [
            ["node", "list", *controller], ["node", "show", *controller, EVIL], ["node", "show", "--node", self.node.address],
            ["job", "list", *controller], ["schedule", "list", *controller], ["schedule", "get", "evil-7", *controller],
            ["find", "--node", self.node.address, "--root", "data", str(self.filesystem.path)],
            *(["job", "get", *controller, job] for job in jobs),
        ]
        for command in commands:
            out = self.cowherd(*command)
            self.assertEqual(CONTROL.findall(out), [], command)
        wrong = [
            ["job", "get", *controller, EVIL], ["schedule", "get", *controller, EVIL], ["node", "show", *controller, EVIL + "x"],
            ["job", "create", *controller, "--name", EVIL + "x"],
        ]
        for command in wrong:
            out = self.cowherd(*command, code=1)
            self.assertIn("error: ", out)
            self.assertEqual(CONTROL.findall(out), [], command)


if __name__ == "__main__":
    unittest.main(verbosity=2)
