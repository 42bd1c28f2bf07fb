#!/usr/bin/python3
"""The checker finds what is wrong: a run that went well, and the same with one thing broken each."""

import copy
import unittest

import checker


def job(revision, state="RUNNING", accepted=0, task_state="TASK_RUNNING", job_id="j"):
    totals = {name: 0 for name in checker.GROWING}
    totals.update(bytes_accepted=accepted, ranges_deduped=accepted // 10)
    return {
        "id": job_id, "request_id": f"r-{job_id}", "spec": "aa", "starts_over": False, "state": state, "revision": revision,
        "totals": dict(totals),
        "tasks": [{"id": f"{job_id}-0", "node": "n", "state": task_state, "attempt": 1, "totals": dict(totals), "reason": ""}],
    }


def call(call_name, start, end, answers, /, code="OK", **request):
    return {"call": call_name, "start": start, "end": end, "address": "a", "request": request, "answers": answers, "code": code,
            "reason": ""}


def run(began, life=1, accepted=None, epoch=7, ok=True):
    one = {"task": "j-0", "node": "n", "life": life, "attempt": 1, "epoch": epoch, "began": began}
    if accepted is not None:
        one.update(ended=began + 1, ok=ok, bytes_accepted=accepted, ranges_deduped=accepted // 10)
    return one


class CheckerTest(unittest.TestCase):
    def setUp(self):
        done = job(9, "SUCCEEDED", 300, "TASK_SUCCEEDED")
        self.calls = [
            call("CreateJob", 1, 2, [job(1, "PENDING", task_state="TASK_WAITING")], request_id="r-j", spec="aa"),
            call("WatchJob", 2, 9, [job(2), job(3, accepted=100), copy.deepcopy(done)], id="j"),
            call("GetJob", 4, 5, [job(3, accepted=100)], id="j"),
        ]
        self.final = {
            "jobs": {"j": done}, "listed": ["j"], "runs": [run(3, accepted=300)], "lives": {"n": 1}, "order_seconds": 2,
            "roots": {"n": {"bytes_accepted": 500, "ranges_deduped": 50}}, "files": {"/f": ["x", "x"]}, "strange": [],
            "mounts": [],
        }

    def found(self, rule):
        """The run is wrong in the eyes of this rule, and it was not before."""
        problems = checker.check(self.calls, self.final)
        self.assertTrue(any(problem.startswith(rule + ":") for problem in problems), problems)

    def fine(self):
        self.assertEqual(checker.check(self.calls, self.final), [])

    def end(self):
        return self.final["jobs"]["j"]

    def count(self, accepted):
        for totals in (self.end()["totals"], self.end()["tasks"][0]["totals"]):
            totals.update(bytes_accepted=accepted, ranges_deduped=accepted // 10)
        self.calls[1]["answers"].pop()

    def test_a_good_run(self):
        self.fine()

    def test_a_lost_job(self):
        self.final["jobs"], self.final["listed"] = {}, []
        self.found("acknowledged_jobs_are_there")
        self.calls.append(call("DeleteJob", 10, 11, [], id="j"))
        self.fine()

    def test_a_deleted_job_that_is_there(self):
        self.calls.append(call("DeleteJob", 10, 11, [], id="j"))
        self.found("acknowledged_jobs_are_there")

    def test_a_job_of_another_spec(self):
        self.calls[0]["request"]["spec"] = "bb"
        self.found("acknowledged_jobs_are_there")

    def test_a_request_that_made_two_jobs(self):
        twice = job(4, "CANCELLED", task_state="TASK_CANCELLED", job_id="k")
        twice["request_id"] = "r-j"
        self.final["jobs"]["k"] = twice
        self.final["listed"].append("k")
        self.found("a_request_makes_one_job")

    def test_a_request_may_be_sent_anew_once_its_job_is_deleted(self):
        self.calls.append(call("DeleteJob", 10, 11, [], id="j"))
        again = job(4, "CANCELLED", task_state="TASK_CANCELLED", job_id="k")
        again["request_id"] = "r-j"
        self.final.update(jobs={"k": again}, listed=["k"], runs=[])
        self.fine()

    def test_a_list_that_leaves_out_a_job(self):
        self.final["listed"] = []
        self.found("a_request_makes_one_job")

    def test_a_job_nobody_asked_for(self):
        self.final["jobs"]["k"] = job(4, "CANCELLED", task_state="TASK_CANCELLED", job_id="k")
        self.final["listed"].append("k")
        self.found("no_job_comes_from_nowhere")

    def test_a_create_that_was_not_answered_may_have_made_its_job(self):
        self.calls[0].update(code="UNAVAILABLE", answers=[])
        self.fine()

    def test_a_job_that_does_not_end(self):
        self.final["jobs"]["j"] = job(9, accepted=100)
        self.found("every_job_ends")

    def test_an_older_revision_after_a_newer(self):
        self.calls.append(call("GetJob", 6, 7, [job(2)], id="j"))
        self.found("revisions_only_grow")

    def test_calls_side_by_side_may_see_either(self):
        self.calls.append(call("GetJob", 4.5, 7, [job(2)], id="j"))
        self.fine()

    def test_a_stream_that_goes_back(self):
        self.calls[1]["answers"].insert(1, job(1, "PENDING", task_state="TASK_WAITING"))
        self.found("revisions_only_grow")

    def test_two_states_of_one_revision(self):
        self.calls[2]["answers"] = [job(3, "PAUSED", accepted=100)]
        self.found("a_revision_is_one_state")

    def test_an_end_that_was_not_one(self):
        self.calls[2]["answers"] = [job(3, "CANCELLED", accepted=100)]
        self.found("moves_are_legal")

    def test_a_change_after_the_end(self):
        self.calls.append(call("GetJob", 9.5, 9.6, [job(8, "SUCCEEDED", 300, "TASK_SUCCEEDED")], id="j"))
        self.found("moves_are_legal")

    def test_progress_that_falls(self):
        self.calls[2]["answers"] = [job(4, accepted=90)]
        self.found("moves_are_legal")

    def test_a_sum_that_is_none(self):
        self.calls[2]["answers"][0]["totals"]["bytes_accepted"] = 101
        self.found("totals_add_up")

    def test_a_run_counted_twice(self):
        self.count(600)
        self.found("each_run_counts_once")

    def test_a_run_not_counted(self):
        self.final["runs"] = [run(3, accepted=200, ok=False), run(5, accepted=300)]
        self.found("each_run_counts_once")
        self.count(500)
        self.fine()

    def test_a_run_that_died_may_count_in_part(self):
        self.final["runs"] = [run(3), run(5, life=2, accepted=200)]
        self.final["lives"]["n"] = 2
        self.fine()  # 300: 100 of the first
        self.count(701)
        self.found("each_run_counts_once")

    def test_of_what_starts_over_the_last_run_counts(self):
        self.final["runs"] = [run(3, accepted=100, ok=False), run(5, accepted=300)]
        for look in [answer for one in self.calls for answer in one["answers"]] + [self.end()]:
            look["starts_over"] = True
        self.fine()

    def test_a_success_that_no_node_knows_of(self):
        self.final["runs"] = []
        self.found("each_run_counts_once")

    def test_a_cancelled_job_that_runs_on(self):
        self.calls.append(call("CancelJob", 0.1, 0.5, [], id="j"))
        self.found("stops_hold")
        self.final["runs"][0]["began"] = 2.4
        self.fine()

    def test_a_cancelled_job_that_is_resumed(self):
        self.calls.append(call("CancelJob", 3, 3.5, [job(2)], id="j"))
        self.calls.append(call("ResumeJob", 4, 4.1, [job(3, accepted=100)], id="j"))
        self.found("stops_hold")

    def test_a_paused_job_that_runs_on(self):
        self.calls.append(call("PauseJob", 0.1, 0.5, [], id="j"))
        self.found("stops_hold")
        self.calls.append(call("ResumeJob", 2.9, 3.1, [], code="UNAVAILABLE", id="j"))
        self.fine()

    def test_a_node_that_was_paused_and_works(self):
        for what, request in (("Node", {"node": "n"}), ("Cluster", {})):
            with self.subTest(what):
                self.calls.append(call("Pause" + what, 0.1, 0.5, [], **request))
                self.found("holds_hold")
                self.calls.append(call("Resume" + what, 2.4, 2.6, [], code="UNAVAILABLE", **request))
                self.fine()
        self.calls.append(call("PauseNode", 0.1, 0.5, [], node="another"))
        self.fine()

    def by_schedule(self, job_id, time, request="q"):
        """A job that was made by a schedule, and ended."""
        made = job(4, "CANCELLED", task_state="TASK_CANCELLED", job_id=job_id)
        made["request_id"] = f"schedule/s/0123/{time}" + (f"/{request}" if request else "")
        self.final["jobs"][job_id] = made
        self.final["listed"].append(job_id)
        return made

    def test_a_job_of_a_schedule(self):
        made = self.by_schedule("k", 7)
        self.found("no_job_comes_from_nowhere")
        self.calls.append(call("CreateSchedule", 1, 2, [], name="s", spec="aa"))
        self.found("no_job_comes_from_nowhere")
        self.calls.append(call("RunScheduleNow", 2, 3, [made], name="s", request_id="q"))
        self.fine()
        # One that was due, though none was.
        self.by_schedule("l", 8, "")
        self.found("no_job_comes_from_nowhere")

    def test_a_job_of_a_schedule_that_is_lost_or_made_twice(self):
        made = self.by_schedule("k", 7)
        self.calls += [call("CreateSchedule", 1, 2, [], name="s", spec="aa"),
                       call("RunScheduleNow", 2, 3, [made], name="s", request_id="q")]
        self.by_schedule("l", 8)
        self.found("a_request_makes_one_job")
        self.final["jobs"].pop("k")
        self.final["jobs"].pop("l")
        self.final["listed"] = ["j"]
        self.found("acknowledged_jobs_are_there")

    def test_a_fenced_controller_that_is_obeyed(self):
        self.final["runs"] = [run(2, epoch=8, accepted=0, ok=False), run(3, epoch=7, accepted=300)]
        self.found("no_lower_epoch_is_obeyed")

    def test_a_file_that_changed(self):
        self.final["files"]["/f"] = ["x", "y"]
        self.found("nothing_is_left_or_changed")

    def test_what_is_left_behind(self):
        self.final["strange"] = ["/f.tmp"]
        self.found("nothing_is_left_or_changed")
        self.final.update(strange=[], mounts=["/mnt"])
        self.found("nothing_is_left_or_changed")


if __name__ == "__main__":
    unittest.main()
