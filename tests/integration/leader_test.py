#!/usr/bin/python3
"""Two controllers on one store in etcd: one leads, the other takes over, and a job neither ends early nor counts twice."""

import json
import subprocess
import time
import unittest

import grpc

import cluster
import etcd
from cluster import COWHERD, MIB, checksums, wait_for, write_random

COPIES = 4
SIZE = 24 * MIB
# The job runs for 12 s, longer than any takeover; or for 6 s where nobody waits for a lease to run out.
SLOW, FASTER = "8m", "16m"


class LeaderTest(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        self.xfs = self.filesystem("xfs")
        for copy in range(COPIES):
            write_random(self.xfs.path / f"copy{copy}", SIZE, 1)
        self.xfs.sync()
        self.sums = checksums(self.xfs.path)
        self.node_one = self.node("one", f"data={self.xfs.path}").start()
        self.etcd = etcd.Etcd(self.directory)
        self.addCleanup(self.etcd.stop)
        self.etcd.start()
        self.controllers = [self.make_controller() for _ in range(2)]
        for controller in self.controllers:
            controller.start()
        self.leader, self.follower = self.find_leader()

    def make_controller(self):
        controller = self.server(
            cluster.CONTROLLER, f"--store={self.etcd.store()}", "--probe_interval=0.5s", "--lease=5s",
            f"--node=one={self.node_one.address}",
        )
        controller.command.append(f"--advertise={controller.address}")
        return controller

    def leads(self, controller):
        if controller.process.poll() is not None:
            return False
        return controller.metrics()[1]["cowherd_controller_leads"] == 1

    def find_leader(self):
        def look():
            leaders = [controller for controller in self.controllers if self.leads(controller)]
            return leaders if len(leaders) == 1 else None

        leader = wait_for("one controller leads", look)[0]
        follower = next(controller for controller in self.controllers if controller is not leader)
        return leader, follower

    def ask(self, controller, *arguments):
        """The answer to a call, or None."""
        done = subprocess.run(
            [COWHERD, "-o", "json", *arguments[:2], "--controller", controller.address, *arguments[2:]],
            capture_output=True, timeout=60,
        )
        return json.loads(done.stdout) if done.returncode == 0 else None

    def start_job(self, rate):
        wait_for("the node is up", lambda: any(
            node["state"] == "NODE_UP" for node in self.ask(self.leader, "node", "list")["nodes"]))
        job_id = self.create_job(self.leader, "--all", "--bytes_per_second", rate)
        wait_for("the job runs", lambda: self.scanned(self.leader, job_id) >= MIB)
        return job_id

    def scanned(self, controller, job_id):
        job = self.ask(controller, "job", "get", job_id)
        return int(job.get("totals", {}).get("bytes_scanned", 0)) if job else -1

    def check_ended_once(self, controller, job_id):
        job = self.wait_job(controller, job_id, "SUCCEEDED")
        totals = job["totals"]
        # Each byte was looked at once: the run went on through all of it, and its figures count once.
        self.assertEqual(int(totals["bytes_scanned"]), COPIES * SIZE)
        self.assertEqual(int(totals["bytes_accepted"]), (COPIES - 1) * SIZE)
        self.assertEqual([task["attempt"] for task in job["tasks"]], [1])
        self.assertEqual(checksums(self.xfs.path), self.sums)

    def progress_resumes(self, controller, job_id):
        """Seconds until the controller leads and what it tells of the job moves on."""
        begin = time.monotonic()
        wait_for("the other leads", lambda: self.leads(controller), 20)
        before = self.scanned(controller, job_id)
        wait_for("the job goes on", lambda: self.scanned(controller, job_id) > before, 20)
        return time.monotonic() - begin

    def refused_cancel(self, controller, job_id):
        """CancelJob of one that does not lead, which clients would go on to the leader with; the error's details."""
        request = b"\x0a" + bytes([len(job_id)]) + job_id.encode()
        with grpc.insecure_channel(controller.address) as channel, self.assertRaises(grpc.RpcError) as caught:
            channel.unary_unary("/cowherd.v1.ControllerService/CancelJob")(request, timeout=5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        details = dict(caught.exception.trailing_metadata())["grpc-status-details-bin"]
        self.assertIn(b"NOT_LEADER", details)
        return details

    def test_a_follower_reads_and_names_the_leader(self):
        job_id = self.start_job(FASTER)
        self.assertEqual(self.ask(self.follower, "job", "get", job_id)["id"], job_id)
        jobs = self.ask(self.follower, "job", "list")["jobs"]
        self.assertEqual([job["id"] for job in jobs], [job_id])
        self.assertIn(self.leader.address.encode(), self.refused_cancel(self.follower, job_id))
        # SIGTERM: it hands over at once, and ends well.
        begin = time.monotonic()
        self.assertEqual(self.leader.stop(), 0)
        wait_for("the other leads", lambda: self.leads(self.follower), 5)
        self.assertLess(time.monotonic() - begin, 1)
        self.check_ended_once(self.follower, job_id)

    def watch(self, job_id):
        """A watch over both controllers."""
        addresses = ",".join(controller.address for controller in self.controllers)
        process = subprocess.Popen([COWHERD, "-o", "json", "job", "watch", "--controller", addresses, job_id],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_a_leader_that_is_killed_is_followed(self):
        job_id = self.start_job(SLOW)
        watch = self.watch(job_id)
        watch.stdout.readline()
        self.leader.kill()
        self.assertLess(self.progress_resumes(self.follower, job_id), 8)
        # The watch goes on with the other, and never back.
        seen = [json.loads(line) for line in watch.communicate(timeout=60)[0].splitlines()]
        self.assertEqual(watch.returncode, 0)
        self.assertEqual(seen[-1]["state"], "SUCCEEDED")
        for what in (lambda job: int(job["revision"]), lambda job: int(job["totals"]["bytes_accepted"])):
            values = [what(job) for job in seen]
            self.assertEqual(values, sorted(values))
            self.assertLess(values[0], values[-1])
        # It comes back and follows.
        self.leader.start()
        self.assertFalse(self.leads(self.leader))
        self.check_ended_once(self.leader, job_id)

    def test_schedules_go_on_with_the_next_leader(self):
        self.ask(self.leader, "schedule", "create", "nightly", "--cron", "0 2 * * *", "--time_zone", "Europe/Berlin",
                 "--all", "--bytes_per_second", FASTER)
        self.ask(self.leader, "schedule", "create", "other", "--cron", "@weekly", "--all")
        self.ask(self.leader, "schedule", "suspend", "other")
        before = {name: self.ask(self.leader, "schedule", "get", name) for name in ("nightly", "other")}
        job_id = self.ask(self.leader, "schedule", "run", "nightly", "--request_id", "once")["id"]
        self.leader.kill()
        wait_for("the other leads", lambda: self.leads(self.follower), 20)
        for name, schedule in before.items():
            after = self.ask(self.follower, "schedule", "get", name)
            self.assertEqual((after["spec"], after.get("next_run")), (schedule["spec"], schedule.get("next_run")))
        # The run that was asked for is known, and not made twice.
        self.assertEqual(self.ask(self.follower, "schedule", "run", "nightly", "--request_id", "once")["id"], job_id)
        self.check_ended_once(self.follower, job_id)
        self.assertEqual(len(self.ask(self.follower, "job", "list")["jobs"]), 1)
        wait_for("the schedule heard of its end", lambda: self.ask(
            self.follower, "schedule", "get", "nightly")["runs"][0]["state"] == "RUN_SUCCEEDED")

    def test_the_leader_of_etcd_is_killed(self):
        job_id = self.start_job(FASTER)
        self.etcd.kill(self.etcd.leader())
        begin = time.monotonic()
        another = wait_for("writes are back", lambda: self.ask(self.leader, "job", "create", "--all", "--dry_run"))
        self.assertLess(time.monotonic() - begin, 3)
        # The lease outlived it: nobody took over.
        self.assertTrue(self.leads(self.leader))
        self.check_ended_once(self.leader, job_id)
        self.wait_job(self.leader, another["id"], "SUCCEEDED")

    def test_a_leader_that_was_frozen_changes_nothing(self):
        job_id = self.start_job(SLOW)
        self.leader.process.send_signal(cluster.signal.SIGSTOP)
        self.progress_resumes(self.follower, job_id)
        self.leader.process.send_signal(cluster.signal.SIGCONT)
        wait_for("it knows", lambda: not self.leads(self.leader), 5)
        self.refused_cancel(self.leader, job_id)
        self.check_ended_once(self.follower, job_id)


if __name__ == "__main__":
    unittest.main(verbosity=2)
