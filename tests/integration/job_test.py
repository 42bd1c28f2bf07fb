#!/usr/bin/python3
"""Two nodes, a controller and the command line: jobs, and what happens when processes die."""

import subprocess
import time
import unittest

import cluster
from cluster import MIB, checksums, wait_for, write_random

LIMIT = ["--bytes_per_second", "16m"]


class JobTest(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        self.btrfs, self.xfs = self.filesystem("btrfs"), self.filesystem("xfs")
        for filesystem in (self.btrfs, self.xfs):
            for copy in range(4):
                write_random(filesystem.path / f"copy{copy}", 24 * MIB, 1)
                # Copies that are written back at the same time have extents that overlap: of such, some is moved.
                filesystem.sync()
        self.sums = [checksums(self.btrfs.path), checksums(self.xfs.path)]
        self.one = self.node("one", f"data={self.btrfs.path}", flags=["--label=kind=btrfs"]).start()
        self.two = self.node("two", f"data={self.xfs.path}", flags=["--label=kind=xfs"]).start()

    def start_controller(self, flags=()):
        controller = self.controller({"one": self.one, "two": self.two}, flags).start()
        wait_for("both nodes are up", lambda: self.nodes_in(controller, "NODE_UP") == ["one", "two"])
        return controller

    def nodes_in(self, controller, state):
        nodes = self.cowherd("-o", "json", "node", "list", "--controller", controller.address)["nodes"]
        return [node["name"] for node in nodes if node["state"] == state]

    def check_contents(self):
        self.assertEqual([checksums(self.btrfs.path), checksums(self.xfs.path)], self.sums)

    def running(self, controller, job_id, scanned=MIB):
        def look():
            job = self.job(controller, job_id)
            return job["state"] == "RUNNING" and int(job.get("totals", {}).get("bytes_scanned", 0)) >= scanned

        wait_for("the job runs", look)

    def test_job_over_all_nodes(self):
        controller = self.start_controller()
        dry = self.create_job(controller, "--all", "--dry_run")
        totals = self.wait_job(controller, dry, "SUCCEEDED")["totals"]
        self.assertEqual(int(totals["duplicate_bytes"]), 2 * 3 * 24 * MIB)
        self.assertEqual(int(totals["bytes_accepted"]), 0)
        out = self.cowherd("job", "create", "--controller", controller.address, "--all", "--wait")
        self.assertIn("SUCCEEDED", out)
        jobs = self.cowherd("-o", "json", "job", "list", "--controller", controller.address)["jobs"]
        self.assertEqual(len(jobs), 2)
        totals = jobs[0]["totals"]
        self.assertEqual(int(totals["bytes_accepted"]), 2 * 3 * 24 * MIB)
        self.assertGreater(int(totals["bytes_won"]), 2 * 3 * 23 * MIB)
        self.assertEqual(totals["bytes_scanned"], totals["bytes_found"])
        self.assertGreaterEqual(int(totals["work_planned"]), 2 * 4 * 24 * MIB)
        self.assertEqual(totals["work_done"], totals["work_planned"])
        # One group a node: each file of random data is one extent, or is told piece by piece.
        for task in self.job(controller, jobs[0]["id"])["tasks"]:
            group = task["largest"]["groups"][0]
            self.assertEqual(int(group["length"]), 24 * MIB)
            self.assertEqual(int(group["copies"]), 3)
            self.assertEqual(len(group["destinations"]), 3)
        _, samples = controller.metrics()
        self.assertEqual(samples['cowherd_controller_jobs_finished_total{outcome="succeeded"}'], 2)
        self.assertEqual(samples["cowherd_controller_bytes_accepted_total"], 2 * 3 * 24 * MIB)
        self.assertEqual(samples['cowherd_controller_nodes{state="up"}'], 2)
        self.check_contents()
        for server in (controller, self.one, self.two):
            server.log_lines()
            self.assertEqual(server.stop(), 0)

    def test_selectors(self):
        controller = self.start_controller()
        by_label = self.create_job(controller, "--label", "kind=xfs", "--dry_run")
        tasks = self.wait_job(controller, by_label, "SUCCEEDED")["tasks"]
        self.assertEqual([(task["node"], task["root"]) for task in tasks], [("two", "data")])
        by_name = self.create_job(controller, "--name", "one", "--dry_run", "--exclude", "copy3")
        totals = self.wait_job(controller, by_name, "SUCCEEDED")["totals"]
        self.assertEqual(int(totals["duplicate_bytes"]), 2 * 24 * MIB)
        text = self.cowherd("job", "create", "--controller", controller.address, "--name", "nobody", code=1)
        self.assertIn("nobody", text)

    def test_nodes_found_by_dns(self):
        self.two.stop()
        self.two.host, self.two.port = "127.0.0.2", self.one.port
        self.two.start()
        controller = self.controller({}, [f"--node_dns=herd.test:{self.one.port}"])
        hosts = self.resolve_as(controller, "127.0.0.1 herd.test\n127.0.0.2 herd.test\n")
        controller.start()
        wait_for("both addresses are nodes", lambda: self.nodes_in(controller, "NODE_UP") == ["one", "two"])
        job = self.create_job(controller, "--all", "--dry_run")
        self.assertEqual(len(self.wait_job(controller, job, "SUCCEEDED")["tasks"]), 2)
        hosts.write_text("127.0.0.2 herd.test\n")
        wait_for("the name has one address less", lambda: self.nodes_in(controller, "NODE_UP") == ["two"])

    def test_request_id_makes_one_job(self):
        controller = self.start_controller()
        arguments = ("--all", "--dry_run", "--request_id", "r1")
        self.assertEqual(self.create_job(controller, *arguments), self.create_job(controller, *arguments))
        text = self.cowherd("job", "create", "--controller", controller.address, "--all", "--request_id", "r1", code=1)
        self.assertIn("REQUEST_ID_REUSED", text)

    def test_a_node_that_is_down_waits(self):
        self.two.stop()
        controller = self.controller({"one": self.one, "two": self.two}).start()
        wait_for("one up, two down", lambda: self.nodes_in(controller, "NODE_DOWN") == ["two"]
                 and self.nodes_in(controller, "NODE_UP") == ["one"])
        job_id = self.create_job(controller, "--all")
        wait_for("the task on one is done", lambda: [
            task["state"] for task in self.job(controller, job_id)["tasks"] if task["node"] == "one"
        ] == ["TASK_SUCCEEDED"])
        self.assertEqual(self.job(controller, job_id)["state"], "RUNNING")
        self.two.start()
        self.wait_job(controller, job_id, "SUCCEEDED")
        self.check_contents()

    def test_cancel_reaches_the_node(self):
        controller = self.start_controller()
        job_id = self.create_job(controller, "--all", *LIMIT)
        self.running(controller, job_id)
        begin = time.monotonic()
        self.cowherd("job", "cancel", "--controller", controller.address, job_id)
        for node in (self.one, self.two):
            wait_for("the node's task ended", lambda node=node: node.metrics()[1]["cowherd_node_tasks_running"] == 0, 5)
        self.assertLess(time.monotonic() - begin, 2)
        self.wait_job(controller, job_id, "CANCELLED", 5)
        self.cowherd("job", "delete", "--controller", controller.address, job_id)
        self.cowherd("job", "get", "--controller", controller.address, job_id, code=1)

    def test_pause_and_resume(self):
        controller = self.start_controller()
        job_id = self.create_job(controller, "--all", *LIMIT)
        self.running(controller, job_id)
        self.cowherd("job", "pause", "--controller", controller.address, job_id)
        for node in (self.one, self.two):
            wait_for("the node's task ended", lambda node=node: node.metrics()[1]["cowherd_node_tasks_running"] == 0, 5)
        self.assertEqual(self.job(controller, job_id)["state"], "PAUSED")
        self.cowherd("job", "resume", "--controller", controller.address, job_id)
        job = self.wait_job(controller, job_id, "SUCCEEDED")
        self.check_contents()
        # What both runs looked at counts once, what both did is added up.
        totals = {name: int(value) for name, value in job["totals"].items() if name != "elapsed"}
        self.assertEqual([task["attempt"] for task in job["tasks"]], [2, 2])
        self.assertEqual(totals["files_read"], 4)
        self.assertLessEqual(totals["duplicate_bytes"], 2 * 3 * 24 * MIB)
        self.assertGreaterEqual(totals["bytes_accepted"], 2 * 3 * 24 * MIB)
        self.assertEqual(totals["bytes_scanned"], totals["bytes_found"])
        self.assertEqual(totals["work_done"], totals["work_planned"])

    def test_a_job_that_can_do_nothing_says_why(self):
        plain = self.directory / "plain"
        plain.mkdir()
        cluster.run("mount", "-t", "tmpfs", "-o", "size=16m", "none", plain)
        self.addCleanup(cluster.run, "umount", plain)
        for copy in range(2):
            write_random(plain / f"copy{copy}", MIB, 1)
        node = self.node("three", f"plain={plain}").start()
        controller = self.controller({"three": node}).start()
        wait_for("the node is up", lambda: self.nodes_in(controller, "NODE_UP") == ["three"])
        create = ("job", "create", "--controller", controller.address, "--all", "--wait")
        for flags in ([], ["--dry_run"]):
            out = self.cowherd(*create, "--root", "plain", *flags, code=1)
            self.assertIn("FAILED", out)
            self.assertIn('EOPNOTSUPP: root "plain" is on', out)
            self.assertNotIn("next try", out)
        out = self.cowherd(*create, "--root", "nowhere", code=1)
        self.assertIn("NO_MATCHING_ROOT", out)
        out = self.cowherd("find", "--node", node.address, "--root", "plain", code=1)
        self.assertIn('root "plain" is on', out)
        self.assertIn("reason:  EOPNOTSUPP", out)
        self.assertIn("next:    use a filesystem that can share ranges", out)

    def test_what_an_earlier_job_looked_at_is_told(self):
        self.one.stop()
        state = self.directory / "state"
        node = self.node("one", f"data={self.btrfs.path}", f"more={self.xfs.path}", flags=[f"--state_dir={state}"])
        self.two.stop()
        controller = self.controller({"one": node.start()}).start()
        wait_for("the node is up", lambda: self.nodes_in(controller, "NODE_UP") == ["one"])
        create = ("job", "create", "--controller", controller.address, "--all", "--wait")
        self.assertNotIn("unchanged:", self.cowherd(*create))
        self.assertIn("not looked at again: an earlier scan did (--full looks at all)", self.cowherd(*create))
        job = self.cowherd("-o", "json", "job", "list", "--controller", controller.address)["jobs"][0]
        self.assertEqual(int(job["totals"]["files_unchanged"]), 4)
        self.assertGreater(int(job["totals"]["bytes_unchanged"]), 4 * 24 * MIB + 24 * MIB)
        self.assertEqual(int(job["totals"]["bytes_scanned"]), 0)
        self.assertNotIn("unchanged:", self.cowherd(*create, "--full"))

    def test_watch_ends_with_the_job(self):
        controller = self.start_controller()
        job_id = self.create_job(controller, "--all")
        states = self.cowherd("-o", "json", "job", "watch", "--controller", controller.address, job_id)
        states = states if isinstance(states, list) else [states]
        self.assertEqual(states[-1]["state"], "SUCCEEDED")
        revisions = [int(state["revision"]) for state in states]
        self.assertEqual(revisions, sorted(revisions))

    def test_kill_9_of_controller_and_node(self):
        controller = self.start_controller()
        job_id = self.create_job(controller, "--all", *LIMIT)
        self.running(controller, job_id)
        controller.kill()
        controller.start()
        self.running(controller, job_id, 8 * MIB)
        self.two.kill()
        time.sleep(0.2)
        self.two.start()
        controller.kill()
        controller.start()
        job = self.wait_job(controller, job_id, "SUCCEEDED", 90)
        self.check_contents()
        # The run on node one went on while the controller was dead: it was attached to, and counted once.
        one = next(task for task in job["tasks"] if task["node"] == "one")
        self.assertEqual(one["attempt"], 1)
        self.assertEqual(int(one["totals"]["bytes_accepted"]), 3 * 24 * MIB)
        self.assertEqual(int(one["totals"]["files_scanned"]), 4)
        self.assertEqual(self.one.metrics()[1]['cowherd_node_tasks_ended_total{outcome="succeeded"}'], 1)
        # On node two all is shared, whatever the killed run had done.
        two = self.cowherd("-o", "json", "find", "--node", self.two.address, "--root", "data")
        two = two if isinstance(two, list) else [two]
        self.assertEqual(int(two[-1]["summary"]["duplicate_bytes"]), 0)
        counted = sum(int(task["totals"]["bytes_accepted"]) for task in job["tasks"])
        self.assertEqual(int(job["totals"]["bytes_accepted"]), counted)
        self.assertEqual(self.controller_processes_on_the_store(controller), "refused")

    def controller_processes_on_the_store(self, controller):
        """A second controller on the same file is refused while the first lives."""
        second = subprocess.run(
            [*controller.command, "--listen=127.0.0.1:0", "--metrics_listen=none"], capture_output=True, timeout=20
        )
        return "refused" if second.returncode != 0 and b"another" in second.stderr else second.stderr


class TlsTest(cluster.ClusterTest):
    def test_everything_over_mutual_tls(self):
        import grpc

        tls = self.certificates()
        filesystem = self.filesystem("btrfs", 512)
        for copy in range(2):
            write_random(filesystem.path / f"copy{copy}", 8 * MIB, 1)
        node = self.node("one", f"data={filesystem.path}", flags=[*tls, "--health_listen=127.0.0.1:0"]).start()
        controller = self.controller({"one": node}, flags=tls).start()
        wait_for("the node is up", lambda: self.cowherd(
            *tls, "-o", "json", "node", "list", "--controller", controller.address)["nodes"][0]["state"] == "NODE_UP")
        out = self.cowherd(*tls, "job", "create", "--controller", controller.address, "--all", "--wait")
        self.assertIn("SUCCEEDED", out)
        # No certificate, no answer.
        self.cowherd("node", "show", "--node", node.address, "--timeout", "3s", code=3)
        # Probes need none.
        health_port = next(line["health_port"] for line in node.log_lines() if line["msg"] == "serving")
        with grpc.insecure_channel(f"127.0.0.1:{health_port}") as channel:
            answer = channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=5)
        self.assertEqual(answer, b"\x08\x01")  # SERVING


class PrometheusTest(cluster.ClusterTest):
    def test_prometheus_scrapes_both(self):
        import json
        import urllib.request

        filesystem = self.filesystem("btrfs", 512)
        for copy in range(2):
            write_random(filesystem.path / f"copy{copy}", 8 * MIB, 1)
        node = self.node("one", f"data={filesystem.path}").start()
        controller = self.controller({"one": node}).start()
        for server in (node, controller):
            text, _ = server.metrics()
            # Lines of prometheus-cpp itself are not ours to name.
            ours = "".join(line + "\n" for line in text.splitlines() if "exposer_" not in line)
            done = subprocess.run(["promtool", "check", "metrics"], input=ours.encode(), capture_output=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        config = self.directory / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: cowherd\n  static_configs:\n"
            f"  - targets: ['127.0.0.1:{node.metrics_port}', '127.0.0.1:{controller.metrics_port}']\n")
        address = "127.0.0.1:19371"
        prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--web.listen-address={address}",
             f"--storage.tsdb.path={self.directory}/tsdb"], stderr=subprocess.DEVNULL)
        self.addCleanup(prometheus.wait)
        self.addCleanup(prometheus.kill)
        self.cowherd("job", "create", "--controller", controller.address, "--all", "--wait")

        def value(query):
            try:
                with urllib.request.urlopen(f"http://{address}/api/v1/query?query={query}", timeout=5) as answer:
                    result = json.load(answer)["data"]["result"]
            except OSError:
                return None
            return float(result[0]["value"][1]) if result else None

        wait_for("Prometheus has the space won",
                 lambda: (value("cowherd_controller_bytes_won_total") or 0) > 7 * MIB, 30)
        wait_for("and what was accepted", lambda: value("cowherd_node_dedupe_accepted_bytes_total") == 8 * MIB, 30)
        self.assertEqual(value("sum(up)"), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
