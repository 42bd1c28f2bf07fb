"""Proves from the record of a run that nothing was lost, nothing was counted twice and nothing was broken. Pure.

    checker.py FILE     checks a file that run.py left

`calls` is what history.py recorded. `final` is how things stood after all faults were over and all jobs had been given
the time to end:
    jobs      id -> the job as read last
    listed    ids in the order of the list
    runs      what the nodes' logs say of the runs they began, in their order: task, node, life (of the node's process),
              attempt, epoch, began; and of those that ended: ended, ranges_deduped, bytes_accepted, ok
    lives     node -> its last life
    order_seconds  how long an order may have been on its way when a stop was acknowledged, and still arrive
    roots     node -> ranges_deduped, bytes_accepted: no run can count more
    files     path -> checksums before and after
    strange   files that nobody made on purpose
    mounts    mounts and loop devices left behind
Times are Unix seconds of one machine.
"""

import heapq
import json
import sys

ENDED = {"SUCCEEDED", "JOB_FAILED", "CANCELLED"}
TASK_ENDED = {"TASK_SUCCEEDED", "TASK_FAILED", "TASK_CANCELLED"}
MOVES = {
    "PENDING": {"PENDING", "RUNNING", "PAUSED", "SUCCEEDED", "JOB_FAILED", "CANCELLED"},
    "RUNNING": {"RUNNING", "PAUSED", "SUCCEEDED", "JOB_FAILED", "CANCELLED"},
    "PAUSED": {"PENDING", "RUNNING", "PAUSED", "SUCCEEDED", "JOB_FAILED", "CANCELLED"},
    "SUCCEEDED": {"SUCCEEDED"},
    "JOB_FAILED": {"JOB_FAILED"},
    "CANCELLED": {"CANCELLED"},
}
# What a node counts in its log and a task in its totals alike: what was done, which adds up over a task's runs.
COUNTED = ("ranges_deduped", "bytes_accepted")
# What never falls over the runs of a task that goes on from where it was.
GROWING = ("files_scanned", "bytes_requested", "bytes_accepted", "ranges_deduped", "ranges_differ", "ranges_failed")


def acknowledged(calls, name):
    return [call for call in calls if call["call"] == name and call["code"] == "OK"]


def asked(calls, name):
    """Also those that were not answered: they may have been done."""
    return [call for call in calls if call["call"] == name]


def request_of(job):
    """Who asked for the job: a request_id. A schedule's jobs tell it and its request, and a time in between."""
    schedule, *rest = job["request_id"].split("/", 4)
    return (rest[0], rest[3]) if schedule == "schedule" and len(rest) == 4 else job["request_id"]


def acknowledged_jobs_are_there(calls, final):
    deleted = {call["request"]["id"] for call in asked(calls, "DeleteJob")}
    for call in acknowledged(calls, "RunScheduleNow"):
        job = call["answers"][0]
        if request_of(job) != (call["request"]["name"], call["request"]["request_id"]):
            yield f"job {job['id']} is not what the schedule was asked for"
        if job["id"] not in final["jobs"] and job["id"] not in deleted:
            yield f"job {job['id']} of a schedule was acknowledged and is gone"
    for call in acknowledged(calls, "CreateJob"):
        answer = call["answers"][0]
        if answer["spec"] != call["request"]["spec"] or answer["request_id"] != call["request"]["request_id"]:
            yield f"job {answer['id']} is not what was asked for"
        job = final["jobs"].get(answer["id"])
        if job is None:
            if answer["id"] not in deleted:
                yield f"job {answer['id']} was acknowledged and is gone"
        elif (job["spec"], job["request_id"]) != (answer["spec"], answer["request_id"]):
            yield f"job {answer['id']} changed its spec"
    for call in acknowledged(calls, "DeleteJob"):
        if call["request"]["id"] in final["jobs"]:
            yield f"job {call['request']['id']} was deleted and is there"


def a_request_makes_one_job(calls, final):
    # A job that is deleted is forgotten with its request.
    deleted = {call["request"]["id"] for call in asked(calls, "DeleteJob")}
    ids = {}
    made = [call["answers"][0] for name in ("CreateJob", "RunScheduleNow") for call in acknowledged(calls, name)]
    for job in (*made, *final["jobs"].values()):
        if job["request_id"]:
            ids.setdefault(request_of(job), set()).add(job["id"])
    for request, made in ids.items():
        if len(made - deleted) > 1:
            yield f"request {request} made {len(made)} jobs"
    if len(set(final["listed"])) != len(final["listed"]):
        yield "the list names a job twice"
    if set(final["listed"]) != set(final["jobs"]):
        yield f"list and jobs differ: {sorted(set(final['listed']) ^ set(final['jobs']))}"


def no_job_comes_from_nowhere(calls, final):
    wanted = {(call["request"]["request_id"], call["request"]["spec"]) for call in asked(calls, "CreateJob")}
    specs = {call["request"]["name"]: call["request"]["spec"] for call in asked(calls, "CreateSchedule")}
    wanted |= {((name, call["request"]["request_id"]), specs.get(name)) for call in asked(calls, "RunScheduleNow")
               for name in [call["request"]["name"]]}
    for job in final["jobs"].values():
        if (request_of(job), job["spec"]) not in wanted:
            yield f"nobody asked for job {job['id']}"


def every_job_ends(_, final):
    for job in final["jobs"].values():
        if job["state"] not in ENDED:
            yield f"job {job['id']} is {job['state']}"


def looks(calls, final):
    """Every job that was seen: (id, start, end, job). A message of a watch was true at some time since its start."""
    for call in calls:
        for job in call["answers"]:
            yield job["id"], call["start"], call["end"], job
    end = max((call["end"] for call in calls), default=0)
    for job in final["jobs"].values():
        yield job["id"], end, end, job


def by_job(calls, final):
    seen = {}
    for job_id, start, end, job in looks(calls, final):
        seen.setdefault(job_id, []).append((start, end, job))
    return seen


def revisions_only_grow(calls, final):
    """A call that began after another had ended sees nothing older; a stream never goes back."""
    for call in calls:
        revisions = [job["revision"] for job in call["answers"]]
        if revisions != sorted(revisions):
            yield f"a watch of job {call['answers'][0]['id']} went back: {revisions}"
    unary = [call for call in calls if call["call"] != "WatchJob"]
    for job_id, seen in by_job(unary, final).items():
        newest, ended = 0, []
        for start, end, job in sorted(seen, key=lambda look: look[0]):
            while ended and ended[0][0] < start:
                newest = max(newest, heapq.heappop(ended)[1])
            if job["revision"] < newest:
                yield f"job {job_id}: revision {job['revision']} was read after {newest}"
            heapq.heappush(ended, (end, job["revision"]))


def a_revision_is_one_state(calls, final):
    for job_id, seen in by_job(calls, final).items():
        states = {}
        for _, _, job in seen:
            content = (job["state"], tuple(sorted(job["totals"].items())))
            if states.setdefault(job["revision"], content) != content:
                yield f"job {job_id}: revision {job['revision']} is two states"


def moves_are_legal(calls, final):
    for job_id, seen in by_job(calls, final).items():
        jobs = sorted((job for _, _, job in seen), key=lambda job: job["revision"])
        for before, after in zip(jobs, jobs[1:]):
            # States in between may not have been seen.
            if after["state"] not in MOVES[before["state"]]:
                yield f"job {job_id} went from {before['state']} to {after['state']}"
            if before["state"] in ENDED and before["revision"] != after["revision"]:
                yield f"job {job_id} changed after its end"
            if not before["starts_over"]:
                for name in GROWING:
                    if after["totals"][name] < before["totals"][name]:
                        yield f"job {job_id}: {name} fell from {before['totals'][name]} to {after['totals'][name]}"


def totals_add_up(calls, final):
    for job_id, _, _, job in looks(calls, final):
        if not job["tasks"]:
            continue
        for name, value in job["totals"].items():
            total = sum(task["totals"][name] for task in job["tasks"])
            if value != total:
                yield f"job {job_id}: {name} is {value}, its tasks have {total}"


def each_run_counts_once(_, final):
    """A run counts exactly once, one that its node's death cut off from the controller at most once."""
    runs = {}
    for run in final["runs"]:
        runs.setdefault(run["task"], []).append(run)
    for job in final["jobs"].values():
        for task in job["tasks"]:
            mine = runs.get(task["id"], [])
            if task["state"] == "TASK_SUCCEEDED" and not any(run.get("ok") for run in mine):
                yield f"task {task['id']} succeeded and no node has done it"
            if job["starts_over"]:
                mine = mine[-1:]
            for name in COUNTED:
                least, most = 0, 0
                for run, following in zip(mine, [*mine[1:], None]):
                    later_life = following is not None and following["life"] != run["life"]
                    last_is_lost = following is None and (
                        task["state"] != "TASK_SUCCEEDED" and run["life"] != final["lives"][run["node"]])
                    if "ended" in run and not later_life and not last_is_lost:
                        least += run[name]
                        most += run[name]
                    elif "ended" in run:
                        most += run[name]
                    else:
                        most += final["roots"][run["node"]].get(name, 0)
                if not least <= task["totals"][name] <= most:
                    between = f"{least}" if least == most else f"{least} to {most}"
                    yield f"task {task['id']}: {name} is {task['totals'][name]}, its node did {between}"


def stops_hold(calls, final):
    """A job that was cancelled, or paused and not resumed since, begins nothing."""
    asked_of = {}
    for call in asked(calls, "ResumeJob") + asked(calls, "PauseJob"):
        asked_of.setdefault(call["request"]["id"], []).append(call)
    runs = {}
    for run in final["runs"]:
        runs.setdefault(run["task"].rsplit("-", 1)[0], []).append(run)
    stops = [("paused", call) for call in acknowledged(calls, "PauseJob")]
    stops += [("cancelled", call) for call in acknowledged(calls, "CancelJob")]
    for what, call in stops:
        job_id = call["request"]["id"]
        others = asked_of.get(job_id, [])
        until = float("inf")
        if what == "cancelled":
            final_job = final["jobs"].get(job_id)
            if final_job is not None and final_job["state"] not in ENDED:
                yield f"job {job_id} was cancelled and is {final_job['state']}"
            for other in others:
                if other["code"] == "OK" and other["start"] > call["end"]:
                    yield f"job {job_id} was cancelled, and {other['call']} was accepted after that"
        else:
            # Also one that was asked for meanwhile.
            resumed = [other["start"] for other in others if other["call"] == "ResumeJob" and other["end"] > call["start"]]
            until = min(resumed, default=until)
        for run in runs.get(job_id, []):
            if call["end"] + final["order_seconds"] < run["began"] < until:
                yield f"task {run['task']} began {run['began'] - call['end']:.1f} s after its job was {what}"


def holds_hold(calls, final):
    """A node or the cluster that was paused, and not resumed or drained since, begins nothing."""
    for what in ("Node", "Cluster"):
        others = asked(calls, "Resume" + what) + asked(calls, "Drain" + what)
        for call in acknowledged(calls, "Pause" + what):
            node = call["request"].get("node")
            # Also one that was asked for meanwhile.
            until = min((other["start"] for other in others
                         if other["request"].get("node") == node and other["end"] > call["start"]), default=float("inf"))
            for run in final["runs"]:
                if run["node"] == (node or run["node"]) and call["end"] + final["order_seconds"] < run["began"] < until:
                    yield f"task {run['task']} began {run['began'] - call['end']:.1f} s after {node or 'the cluster'} was paused"


def no_lower_epoch_is_obeyed(_, final):
    highest = {}
    for run in final["runs"]:
        if run["epoch"] < highest.get(run["node"], 0):
            yield f"node {run['node']} began task {run['task']} of epoch {run['epoch']} after epoch {highest[run['node']]}"
        highest[run["node"]] = max(run["epoch"], highest.get(run["node"], 0))


def nothing_is_left_or_changed(_, final):
    for path, (before, after) in final["files"].items():
        if before != after:
            yield f"{path} changed"
    yield from (f"left behind: {path}" for path in final["strange"])
    yield from (f"left behind: {mount}" for mount in final["mounts"])


RULES = (
    acknowledged_jobs_are_there,
    a_request_makes_one_job,
    no_job_comes_from_nowhere,
    every_job_ends,
    revisions_only_grow,
    a_revision_is_one_state,
    moves_are_legal,
    totals_add_up,
    each_run_counts_once,
    stops_hold,
    holds_hold,
    no_lower_epoch_is_obeyed,
    nothing_is_left_or_changed,
)


def check(calls, final):
    """What is wrong, a sentence each."""
    return [f"{rule.__name__}: {problem}" for rule in RULES for problem in rule(calls, final)]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        *recorded, last = [json.loads(line) for line in file]
    wrong = check(recorded, last["final"])
    print("\n".join(wrong) or "nothing wrong")
    sys.exit(1 if wrong else 0)
