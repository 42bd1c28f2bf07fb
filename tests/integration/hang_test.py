#!/usr/bin/python3
"""Disks that hang, and much to do: metrics are answered all the same, and health turns bad where nothing else is."""

import threading
import time
import unittest

import grpc

import cluster
import schedule_test
from cluster import MIB, run, wait_for, write_random

NOT_SERVING = b"\x08\x02"
SERVING = b"\x08\x01"


class HangTest(cluster.ClusterTest):
    def freeze(self, filesystem):
        """Whatever writes to it waits, until the function that is returned is called, or the test ends."""
        run("fsfreeze", "--freeze", filesystem.path)
        frozen = [True]

        def thaw():
            if frozen:
                frozen.clear()
                run("fsfreeze", "--unfreeze", filesystem.path)

        self.addCleanup(thaw)
        return thaw

    def scrape(self, server):
        """All samples; no scrape takes longer than two seconds."""
        begin = time.monotonic()
        _, samples = server.metrics()
        self.assertLess(time.monotonic() - begin, 2)
        return samples

    def in_background(self, work):
        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)
        return thread

    def test_metrics_tell_of_a_store_that_hangs(self):
        disk = self.filesystem("xfs", 512)
        root = self.directory / "root"
        root.mkdir()
        node = self.node("one", f"data={root}").start()
        controller = self.controller({"one": node}, store=disk.path / "jobs.db").start()
        wait_for("the node is up", lambda: self.scrape(controller)['cowherd_controller_nodes{state="up"}'] == 1)
        self.assertEqual(self.scrape(controller)["cowherd_store_oldest_operation_seconds"], 0)
        thaw = self.freeze(disk)
        made = []
        caller = self.in_background(lambda: made.append(self.create_job(controller, "--all", "--timeout", "60s")))
        wait_for("a write that hangs is told of",
                 lambda: self.scrape(controller)["cowherd_store_oldest_operation_seconds"] > 2)
        self.assertEqual(made, [])
        thaw()
        caller.join()
        self.job(controller, made[0])
        wait_for("all is done", lambda: self.scrape(controller)["cowherd_store_oldest_operation_seconds"] == 0)
        name = 'cowherd_store_operation_duration_seconds_count{operation="create",outcome="ok"}'
        self.assertEqual(self.scrape(controller)[name], 1)

    def test_health_tells_of_a_node_that_hangs(self):
        schedule_test.read_protos(self.directory)
        from cowherd.v1 import node_pb2

        disk = self.filesystem("xfs", 512)
        root = self.directory / "root"
        root.mkdir()
        node = self.node("one", f"data={root}", flags=[f"--state_dir={disk.path}/state", "--health_listen=127.0.0.1:0"])
        node.start()
        port = next(line["health_port"] for line in node.log_lines() if line["msg"] == "serving")
        health = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.addCleanup(health.close)
        check = health.unary_unary("/grpc.health.v1.Health/Check")

        def answer(service):
            return check(b"\x0a" + bytes([len(service)]) + service.encode() if service else b"", timeout=2)

        service = "cowherd.v1.NodeService"
        self.assertEqual(answer(service), SERVING)
        # Each order of a new epoch is written down first, and there that hangs.
        thaw = self.freeze(disk)
        channel = grpc.insecure_channel(node.address)
        self.addCleanup(channel.close)
        cancel = channel.unary_unary("/cowherd.v1.NodeService/CancelTask")
        orders = [cancel.future(node_pb2.CancelTaskRequest(task_id="t", epoch=7 + i).SerializeToString()) for i in range(8)]
        wait_for("it is not well", lambda: answer(service) == NOT_SERVING, 40)
        # It is no use to start the process anew.
        self.assertEqual(answer(""), SERVING)
        self.scrape(node)
        self.assertTrue(any("no call is answered" in line["msg"] for line in node.log_lines()))
        thaw()
        wait_for("it is well again", lambda: answer(service) == SERVING)
        for order in orders:
            with self.assertRaises(grpc.RpcError) as refused:
                order.result(timeout=20)
            self.assertIn(refused.exception.code(), (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION))
        samples = self.scrape(node)
        self.assertEqual(samples["cowherd_node_epoch"], 14)
        told = {reason: samples[f'cowherd_node_orders_refused_total{{reason="{reason}"}}'] for reason in
                ("task_unknown", "stale_epoch")}
        self.assertEqual(sum(told.values()), len(orders), told)
        self.cowherd("node", "show", "--node", node.address)

    def test_scrapes_under_load(self):
        filesystem = self.filesystem("btrfs")
        for copy in range(4):
            write_random(filesystem.path / f"copy{copy}", 64 * MIB, 1)
        filesystem.sync()
        node = self.node("one", f"data={filesystem.path}").start()
        controller = self.controller({"one": node}).start()
        wait_for("the node is up", lambda: self.scrape(controller)['cowherd_controller_nodes{state="up"}'] == 1)
        job = self.create_job(controller, "--all", "--bytes_per_second", "40m")
        going_on = threading.Event()
        going_on.set()
        schedule_test.read_protos(self.directory)
        from cowherd.v1 import controller_pb2

        request = controller_pb2.CreateJobRequest()
        request.spec.scan.nodes.all = True
        request.spec.priority = -1
        request = request.SerializeToString()

        def create():
            with grpc.insecure_channel(controller.address) as channel:
                call = channel.unary_unary("/cowherd.v1.ControllerService/CreateJob")
                while going_on.is_set():
                    call(request, timeout=20)

        def show():
            with grpc.insecure_channel(node.address) as channel:
                call = channel.unary_unary("/cowherd.v1.NodeService/GetNode")
                while going_on.is_set():
                    call(b"", timeout=20)

        self.addCleanup(going_on.clear)
        for work in (create, show, show):
            self.in_background(work)
        before = [self.scrape(server) for server in (controller, node)]
        scrapes = 0
        while self.job(controller, job)["state"] in ("PENDING", "RUNNING") and scrapes < 100:
            for i, server in enumerate((controller, node)):
                samples = self.scrape(server)
                for name, value in samples.items():
                    if name.split("{")[0].endswith(("_total", "_count")):
                        self.assertGreaterEqual(value, before[i].get(name, 0), name)
                before[i] = samples
            scrapes += 1
        going_on.clear()
        self.assertGreater(scrapes, 5)
        started = 'grpc_server_started_total{grpc_method="CreateJob",grpc_service="cowherd.v1.ControllerService",grpc_type="unary"}'
        self.assertGreater(before[0][started], 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
