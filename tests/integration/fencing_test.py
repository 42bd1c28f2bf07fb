#!/usr/bin/python3
"""A node and two controllers of different epochs, as plain gRPC clients: who is obeyed, also after kill -9 of the node."""

import importlib
import subprocess
import sys
import tempfile
import unittest

import grpc

import cluster
from cluster import MIB, write_random

DETAILS = "grpc-status-details-bin"


class FencingTest(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        protos = cluster.REPOSITORY / "proto"
        names = [f"cowherd/v1/{name}.proto" for name in ("errors", "types", "node")]
        cluster.run("protoc", f"-I{protos}", f"--python_out={directory.name}", *names)
        sys.path.insert(0, directory.name)
        cls.node_pb2 = importlib.import_module("cowherd.v1.node_pb2")

    def setUp(self):
        super().setUp()
        self.fs = self.filesystem("btrfs")
        for copy in range(4):
            write_random(self.fs.path / f"copy{copy}", 24 * MIB, 1)
        self.fs.sync()
        self.state = self.directory / "state"

    def start(self, *flags):
        return self.node("one", f"data={self.fs.path}", flags=flags).start()

    def channel(self, server):
        # Dials anew: what was connected to a process that was killed is of no use.
        channel = grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def call(self, kind, server, method, request, answer):
        path = f"/cowherd.v1.NodeService/{method}"
        return getattr(self.channel(server), kind)(path, type(request).SerializeToString, answer.FromString)(request, timeout=60)

    def run_task(self, server, epoch, attempt=1, task="t"):
        request = self.node_pb2.RunTaskRequest(task_id=task, attempt=attempt, epoch=epoch)
        request.scan.root = "data"
        request.scan.options.bytes_per_second = 8 * MIB
        return self.call("unary_stream", server, "RunTask", request, self.node_pb2.RunTaskResponse)

    def instance(self, server):
        return self.call("unary_unary", server, "GetNode", self.node_pb2.GetNodeRequest(), self.node_pb2.Node).instance_id

    def refused(self, call):
        """`call` fails as that of a controller that another has followed."""
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        details = dict(caught.exception.trailing_metadata())[DETAILS]
        self.assertIn(b"STALE_EPOCH", details)

    def test_a_later_controller_is_given_the_run_and_survives_kill_9(self):
        node = self.start(f"--state_dir={self.state}")
        instance = self.instance(node)
        earlier = self.run_task(node, 100)
        run_id = next(earlier).run_id
        later = self.run_task(node, 200)
        self.assertEqual(next(later).run_id, run_id)
        self.refused(lambda: list(earlier))
        self.refused(lambda: list(self.run_task(node, 199)))
        self.refused(lambda: self.call("unary_unary", node, "CancelTask", self.node_pb2.CancelTaskRequest(
            task_id="t", epoch=100), self.node_pb2.CancelTaskResponse))
        self.assertEqual(next(later).run_id, run_id)

        node.kill()
        node.start()
        self.assertEqual(self.instance(node), instance)
        # Before the later controller has said anything to the new process.
        self.refused(lambda: list(self.run_task(node, 100)))
        events = list(self.run_task(node, 200))
        self.assertNotEqual(events[-1].run_id, run_id)
        self.assertFalse(events[-1].summary.HasField("error"))
        self.assertEqual(events[-1].summary.totals.bytes_accepted, 3 * 24 * MIB)
        # One scan since the start: who comes again is given its summary.
        self.assertEqual([event.run_id for event in self.run_task(node, 201)], [events[-1].run_id])
        self.assertEqual(node.metrics()[1]['cowherd_node_tasks_ended_total{outcome="succeeded"}'], 1)
        self.refused(lambda: list(self.run_task(node, 200)))

    def test_without_a_state_dir_a_restarted_node_starts_anew(self):
        node = self.start()
        instance = self.instance(node)
        next(self.run_task(node, 200))
        self.refused(lambda: list(self.run_task(node, 100)))
        node.kill()
        node.start()
        self.assertNotEqual(self.instance(node), instance)
        next(self.run_task(node, 100))

    def test_a_damaged_record_and_a_shared_state_dir_are_refused(self):
        node = self.start(f"--state_dir={self.state}")
        second = self.node("two", f"data={self.fs.path}", flags=[f"--state_dir={self.state}"])
        listen = ["--listen=127.0.0.1:0", "--metrics_listen=none"]
        done = subprocess.run([*second.command, *listen], capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"in use by another cowherd-node", done.stderr)
        next(self.run_task(node, 200))
        node.kill()
        record = self.state / "node"
        record.write_bytes(record.read_bytes().replace(b"epoch 200", b"epoch 100"))
        done = subprocess.run([*node.command, *listen], capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{record} is damaged".encode(), done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
