#!/usr/bin/python3
"""A node, a controller and the command line: schedules, what they miss while the controller is away, and windows."""

import datetime
import sqlite3
import sys
import time
import unittest

import cluster
from cluster import MIB, checksums, wait_for, write_random


def read_protos(directory):
    """cowherd.v1.controller_pb2, made by protoc."""
    root = cluster.REPOSITORY / "proto"
    files = [str(path) for path in root.rglob("*.proto")]
    cluster.run("protoc", f"--proto_path={root}", f"--python_out={directory}", *files)
    sys.path.insert(0, str(directory))
    from cowherd.v1 import controller_pb2

    return controller_pb2


class ScheduleTest(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        self.filesystem = self.filesystem("btrfs")
        for copy in range(4):
            write_random(self.filesystem.path / f"copy{copy}", 24 * MIB, 1)
        self.filesystem.sync()
        self.sums = checksums(self.filesystem.path)
        self.node = self.node("storage-7", f"data={self.filesystem.path}", flags=["--label=zone=a"]).start()
        self.controller = self.controller({"storage-7": self.node}).start()
        wait_for("the node is up", lambda: self.ask("node", "list")["nodes"][0]["state"] == "NODE_UP")

    def run_cowherd(self, *arguments, code=0):
        environment = {"COWHERD_CONTROLLER": self.controller.address}
        return self.cowherd(*arguments, code=code, environment=environment)

    def ask(self, *arguments):
        return self.run_cowherd("-o", "json", *arguments)

    def schedule(self, name):
        return self.ask("schedule", "get", name)

    def test_commands_of_the_readme(self):
        text = self.run_cowherd(
            "schedule", "create", "nightly", "--cron", "30 2 * * *", "--time_zone", "Europe/Berlin", "--all",
            "--window", "0 2 * * * for 4h",
        )
        self.assertRegex(text, r"schedule nightly: created; next run \d{4}-\d\d-\d\d 02:30 CES?T")
        self.run_cowherd(
            "schedule", "create", "weekly", "--cron", "0 22 * * sat", "--missed_run_deadline", "6h", "--label", "zone=a",
            "--full",
        )
        text = self.run_cowherd("schedule", "list")
        self.assertRegex(text, r"nightly +ACTIVE +30 2 \* \* \* +Europe/Berlin +\d{4}-\d\d-\d\d 02:30 CES?T +\d+ [hm]")
        self.assertRegex(text, r"weekly +ACTIVE +0 22 \* \* sat +UTC ")
        self.assertEqual(self.schedule("nightly")["spec"]["job"]["windows"][0]["time_zone"], "Europe/Berlin")

        text = self.run_cowherd("schedule", "run", "weekly")
        job = text.split()[1].rstrip(":")
        done = self.wait_job(self.controller, job, "SUCCEEDED")
        self.assertEqual(done["schedule"], "weekly")
        self.assertEqual(int(done["totals"]["bytes_accepted"]), 3 * 24 * MIB)
        wait_for("the schedule heard of it", lambda: self.schedule("weekly")["runs"][0]["state"] == "RUN_SUCCEEDED")
        self.assertIn(job, self.run_cowherd("schedule", "get", "weekly"))

        self.run_cowherd("schedule", "update", "nightly", "--cron", "0 3 * * *", "--missed_run_deadline", "1h")
        self.assertIn("nightly: suspended", self.run_cowherd("schedule", "suspend", "nightly"))
        self.assertNotIn("next_run", self.schedule("nightly"))
        self.assertIn("nightly: resumed; next run", self.run_cowherd("schedule", "resume", "nightly"))
        spec = self.schedule("nightly")["spec"]
        self.assertEqual((spec["cron"], spec["missed_run_deadline"]), ("0 3 * * *", "3600s"))
        self.assertIn("never comes", self.run_cowherd("schedule", "update", "nightly", "--cron", "0 0 31 2 *", code=1))

        self.run_cowherd(
            "node", "window", "set", "storage-7", "--window", "0 20 * * mon-fri for 10h in Europe/Berlin",
            "--window", "0 0 * * sat for 48h",
        )
        self.assertRegex(self.run_cowherd("node", "window", "list"), r"storage-7 +(OPEN|CLOSED) .* for 48h in UTC\n")
        self.run_cowherd("schedule", "delete", "weekly")
        self.assertIn("SCHEDULE_UNKNOWN", self.run_cowherd("schedule", "get", "weekly", code=1))
        self.assertEqual(self.job(self.controller, job)["state"], "SUCCEEDED")
        _, samples = self.controller.metrics()
        self.assertEqual(samples["cowherd_controller_schedules"], 1)
        self.assertEqual(samples['cowherd_controller_schedule_runs_total{outcome="started"}'], 1)
        self.assertEqual(checksums(self.filesystem.path), self.sums)

    def test_a_run_asked_for_again_after_kill_9_is_the_same(self):
        self.run_cowherd("schedule", "create", "nightly", "--cron", "@daily", "--all", "--bytes_per_second", "16m")
        job = self.ask("schedule", "run", "nightly", "--request_id", "once")["id"]
        self.controller.kill()
        self.controller.start()
        self.assertEqual(self.ask("schedule", "run", "nightly", "--request_id", "once")["id"], job)
        self.assertIn(job, self.run_cowherd("schedule", "run", "nightly", code=1))
        self.wait_job(self.controller, job, "SUCCEEDED")
        self.assertEqual(len(self.ask("job", "list")["jobs"]), 1)

    def test_a_run_missed_while_the_controller_was_away(self):
        self.run_cowherd("schedule", "create", "late", "--cron", "0 * * * *", "--all")
        self.run_cowherd("schedule", "create", "too-late", "--cron", "0 * * * *", "--all", "--missed_run_deadline", "10s")
        self.assertEqual(self.controller.stop(), 0)
        hour = datetime.datetime.now(datetime.timezone.utc).replace(minute=0, second=0, microsecond=0)
        # As if it had gone five hours ago, shortly after a full hour.
        protos = read_protos(self.directory)
        store = sqlite3.connect(self.directory / "jobs.db")
        with store:
            for name, value in store.execute("SELECT name, value FROM records WHERE kind = 'schedule'").fetchall():
                schedule = protos.Schedule.FromString(value)
                schedule.decided.FromDatetime((hour - datetime.timedelta(hours=5)).replace(tzinfo=None))
                store.execute(
                    "UPDATE records SET value = ? WHERE kind = 'schedule' AND name = ?",
                    (schedule.SerializeToString(), name),
                )
        store.close()
        self.controller.start()
        runs = wait_for("the run that was missed starts", lambda: self.schedule("late").get("runs"))
        self.assertEqual(len(runs), 1)
        due = datetime.datetime.fromisoformat(runs[0]["time"].replace("Z", "+00:00"))
        # The hour may have passed meanwhile.
        self.assertIn(due, (hour, hour + datetime.timedelta(hours=1)))
        done = self.wait_job(self.controller, runs[0]["job_id"], "SUCCEEDED")
        self.assertEqual(done["schedule"], "late")
        late = self.schedule("too-late")
        if (late["skip_reason"], late["runs"]) != ("SKIPPED_MISSED", []):
            # Only in the first seconds of an hour.
            self.assertLess(datetime.datetime.now(datetime.timezone.utc).minute, 2)

    def test_a_task_pauses_while_the_node_is_closed(self):
        job = self.create_job(self.controller, "--all", "--bytes_per_second", "16m")

        def scanned():
            return int(self.job(self.controller, job)["totals"]["bytes_accepted"])

        wait_for("the job works", lambda: scanned() > 0)
        # Opens in five hours.
        hour = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=5)).hour
        text = self.run_cowherd("node", "window", "set", "storage-7", "--window", f"0 {hour} * * * for 1h")
        self.assertRegex(text, r"storage-7 +CLOSED")

        def task():
            return self.job(self.controller, job)["tasks"][0]

        wait_for("the task pauses", lambda: task()["state"] == "TASK_WAITING", seconds=5)
        self.assertEqual(task()["error"]["reason"], "WINDOW_CLOSED")
        self.assertEqual(self.job(self.controller, job)["state"], "RUNNING")
        self.assertIn("WINDOW_CLOSED", self.run_cowherd("job", "get", job))
        # Over a restart too.
        self.controller.kill()
        self.controller.start()
        self.assertIn("storage-7  CLOSED", self.run_cowherd("node", "window", "list"))
        self.assertEqual(task()["state"], "TASK_WAITING")
        self.assertIn("works at any time", self.run_cowherd("node", "window", "clear", "storage-7"))
        done = self.wait_job(self.controller, job, "SUCCEEDED")
        self.assertEqual(done["tasks"][0]["attempt"], 2)
        self.assertEqual(checksums(self.filesystem.path), self.sums)

    def test_a_task_ends_with_its_window_though_the_controller_is_away(self):
        # The window is this minute, if enough is left of it.
        now = datetime.datetime.now(datetime.timezone.utc)
        if now.second > 45:
            time.sleep(61 - now.second)
            now = datetime.datetime.now(datetime.timezone.utc)
        window = f"{now.minute} {now.hour} * * * for 1m"
        job = self.create_job(self.controller, "--all", "--bytes_per_second", "1m", "--window", window)

        def running():
            return self.cowherd("-o", "json", "node", "show", "--node", self.node.address)["running_tasks"]

        wait_for("the task runs", lambda: running() == 1)
        self.controller.kill()
        wait_for("the task has ended", lambda: running() == 0, seconds=65)
        self.assertNotEqual(datetime.datetime.now(datetime.timezone.utc).minute, now.minute)
        self.controller.start()
        task = wait_for(
            "what it did is counted",
            lambda: (lambda task: task if task["state"] == "TASK_WAITING" else None)(self.job(self.controller, job)["tasks"][0]),
        )
        self.assertEqual((task["error"]["reason"], task["attempt"]), ("WINDOW_CLOSED", 1))
        self.assertEqual(running(), 0)
        self.assertEqual(checksums(self.filesystem.path), self.sums)


if __name__ == "__main__":
    unittest.main(verbosity=2)
