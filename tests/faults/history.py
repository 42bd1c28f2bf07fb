"""What was asked of the controllers and what they answered, call by call, in a file of JSON lines."""

import json
import threading
import time


class History:
    """Any thread. A call that has not ended when the file is read is not in it: it was never answered."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "w")
        self.lock = threading.Lock()

    def record(self, call, start, address, request, answers=(), code="OK", reason=""):
        """`answers`: the jobs, as plain(); one for each message of a watch. The time of the end is now."""
        line = {"call": call, "start": start, "end": time.time(), "address": address, "request": request,
                "answers": list(answers), "code": code, "reason": reason}
        with self.lock:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()

    def calls(self):
        with self.lock, open(self.path) as file:
            return [json.loads(line) for line in file]


def counters(totals):
    """All counters of a TaskTotals, those that are 0 too; `elapsed` and `bytes_won` are measured, not counted."""
    return {
        field.name: getattr(totals, field.name)
        for field in totals.DESCRIPTOR.fields
        if field.message_type is None and field.name != "bytes_won"
    }


def plain(job):
    """A Job of the API as what the checker looks at."""
    states = job.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
    return {
        "id": job.id,
        "request_id": job.request_id,
        "spec": job.spec.SerializeToString(deterministic=True).hex(),
        # Then only the last run of a task counts.
        "starts_over": job.spec.HasField("ranges") or job.spec.scan.options.dry_run,
        "state": states[job.state].name,
        "revision": job.revision,
        "totals": counters(job.totals),
        "tasks": [
            {
                "id": task.id,
                "node": task.node,
                "state": task.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[task.state].name,
                "attempt": task.attempt,
                "totals": counters(task.totals),
                "reason": task.error.reason,
            }
            for task in job.tasks
        ],
    }
