#!/usr/bin/python3
"""How long a fleet waits when the controller that leads it goes, and for a cancel.

    tests/bench/failover.py [--nodes N] [--tasks N] [--controllers N]

Real controllers over etcd with three members, all on this machine, and the nodes of //tests/bench:fleet_nodes, which run
tasks only in name. While each node runs a task, the leader is told to stop (SIGTERM), then the next one is killed
(kill -9). Tasks go on once the last of the nodes has been given an order by the new leader: from then on nobody waits.
At the job's end each task must have begun once, ended well at its first attempt, and count once. Then a job that runs
on all nodes is cancelled: from the call until the job is CANCELLED, which it is when all nodes have said so.

Needs a build of //tests/bench:fleet_nodes, //server/controller:cowherd-controller and //client:cowherd.
"""

import argparse
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import cluster
import etcd
from cluster import wait_for

FLEET = cluster.BIN / "tests/bench/fleet_nodes"
TASK_BYTES = 1 << 30
# A task takes three seconds, give or take a half; or far longer than it takes to cancel it.
FAST, SLOW = "340m", "4m"
STOPPED_BAR, KILLED_BAR, CANCEL_BAR = 1, 8, 2

Event = collections.namedtuple("Event", "ns what node task attempt epoch")


class Fleet:
    """fleet_nodes, and what it has told."""

    def __init__(self, directory, nodes, roots):
        self.nodes = nodes
        log = directory / "fleet.log"
        self.process = subprocess.Popen([FLEET, str(nodes), str(roots)], stdout=open(log, "wb"))
        self.log = open(log)
        self.ports = wait_for("the nodes serve", self.log.readline).split()
        self.events = []
        self.line = ""

    def read(self):
        for piece in iter(self.log.readline, ""):
            self.line += piece
            if not self.line.endswith("\n"):
                break  # the rest is yet to be written
            ns, what, node, task, attempt, epoch = self.line.split()
            self.events.append(Event(int(ns), what, node, task, int(attempt), int(epoch)))
            self.line = ""
        return self.events

    def first_orders(self, after_epoch=0, job=""):
        """When each node was given its first order by a later leader, or of a job."""
        first = {}
        for event in self.read():
            if event.what == "order" and event.epoch > after_epoch and event.task.startswith(job):
                first.setdefault(event.node, event.ns)
        return sorted(first.values())

    def epoch(self):
        return max((event.epoch for event in self.read()), default=0)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Controllers:
    def __init__(self, directory, store, fleet, count):
        nodes = [f"--node=node-{i:05}=127.0.0.1:{port}" for i, port in enumerate(fleet.ports)]
        self.servers = []
        for i in range(count):
            server = cluster.Server(
                directory / f"controller{i}.log", cluster.CONTROLLER, f"--store={store}", f"--max_tasks={fleet.nodes}", *nodes)
            server.command.append(f"--advertise={server.address}")
            self.servers.append(server.start())

    def leader(self):
        for server in self.servers:
            if server.process.poll() is None and server.metrics()[1]["cowherd_controller_leads"] == 1:
                return server
        return None

    def ask(self, *arguments):
        addresses = ",".join(server.address for server in self.servers if server.process.poll() is None)
        done = cluster.run(cluster.COWHERD, "-o", "json", *arguments[:2], "--controller", addresses, *arguments[2:])
        return json.loads(done.stdout)

    def stop(self):
        for server in self.servers:
            if server.process.poll() is None:
                server.kill()


def start_job(fleet, controllers, rate):
    """A job that has a task running on each node."""
    job = controllers.ask("job", "create", "--all", "--bytes_per_second", rate)["id"]
    wait_for("each node has a task", lambda: len(fleet.first_orders(job=job)) == fleet.nodes, 60)
    time.sleep(2)  # so that tasks have ended and others begun, and progress is stored
    return job


def check_counted_once(fleet, controllers, job, tasks):
    """The sentences that say what went wrong."""
    wait_for("the job ends", lambda: all(left["id"] != job for left in controllers.ask(
        "job", "list", "--state", "pending", "--state", "running")["jobs"]), 120)
    record = controllers.ask("job", "get", job)
    wrong = []
    if record["state"] != "SUCCEEDED" or len(record["tasks"]) != tasks:
        wrong.append(f"the job is {record['state']} with {len(record['tasks'])} tasks of {tasks}")
    for task in record["tasks"]:
        told = (task["state"], task["attempt"], int(task["totals"]["bytes_scanned"]))
        if told != ("TASK_SUCCEEDED", 1, TASK_BYTES):
            wrong.append(f"task {task['id']}: {told}")
    if int(record["totals"]["bytes_scanned"]) != tasks * TASK_BYTES:
        wrong.append(f"bytes_scanned is {record['totals']['bytes_scanned']}, not {tasks} times {TASK_BYTES}")
    begun = collections.Counter(event.task for event in fleet.read() if event.what == "begin" and event.task.startswith(job))
    if len(begun) != tasks or max(begun.values()) != 1:
        wrong.append(f"{len(begun)} tasks of {tasks} began, one {max(begun.values())} times")
    return wrong


def measure_loss(fleet, controllers, tasks, what, lose, bar):
    """One line of the table; whether each task was done and counted once."""
    job = start_job(fleet, controllers, FAST)
    leader, epoch = controllers.leader(), fleet.epoch()
    begin = time.monotonic_ns()
    lose(leader)
    wait_for("each node has an order of the new leader", lambda: len(fleet.first_orders(epoch)) == fleet.nodes, 60)
    orders = [(ns - begin) / 1e9 for ns in fleet.first_orders(epoch)]
    wrong = check_counted_once(fleet, controllers, job, tasks)
    met = orders[-1] <= bar and not wrong
    print(f"| {what} | {orders[0]:.2f} s | {orders[len(orders) // 2]:.2f} s | {orders[-1]:.2f} s | <= {bar} s | "
          f"{len(wrong)} | {'met' if met else 'MISSED'} |", flush=True)
    for sentence in wrong[:10]:
        print(sentence, file=sys.stderr)
    if leader.process.poll() is None:
        leader.process.wait(timeout=30)
    return not wrong


def measure_cancel(fleet, controllers):
    job = start_job(fleet, controllers, SLOW)
    begin = time.monotonic_ns()
    controllers.ask("job", "cancel", job)
    wait_for("the job is cancelled", lambda: any(
        ended["id"] == job for ended in controllers.ask("job", "list", "--state", "cancelled")["jobs"]), 60)
    seconds = (time.monotonic_ns() - begin) / 1e9
    told = [event.ns for event in fleet.read() if event.what == "cancel" and event.task.startswith(job)]
    met = seconds <= CANCEL_BAR
    print(f"\n| cancel of {len(told)} running tasks | the last node told after | the job CANCELLED after | bar | |\n"
          "|---|---|---|---|---|")
    print(f"| | {(max(told) - begin) / 1e9:.2f} s | {seconds:.2f} s | <= {CANCEL_BAR} s | {'met' if met else 'MISSED'} |", flush=True)


def main():
    # What was made is taken away also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000, help="default 1000")
    parser.add_argument("--tasks", type=int, default=6, help="of each node in each job (default 6)")
    parser.add_argument("--controllers", type=int, default=3, help="at least 3, as two are lost (default 3)")
    arguments = parser.parse_args()
    if not FLEET.exists() or not cluster.CONTROLLER.exists() or not cluster.COWHERD.exists():
        sys.exit("failover.py: build first: //tests/bench:fleet_nodes //server/controller:cowherd-controller //client:cowherd")
    if arguments.controllers < 3:
        sys.exit("failover.py: --controllers: two are lost, so at least 3 are needed")
    with tempfile.TemporaryDirectory(prefix="cowherd-bench.", dir=os.environ.get("COWHERD_TEST_DIR", "/var/tmp")) as directory:
        directory = pathlib.Path(directory)
        tasks = arguments.nodes * arguments.tasks
        fleet, members, controllers = Fleet(directory, arguments.nodes, arguments.tasks), etcd.Etcd(directory), None
        try:
            members.start()
            controllers = Controllers(directory, members.store(), fleet, arguments.controllers)
            wait_for("a controller leads and knows the nodes", lambda: controllers.leader() is not None and all(
                node["state"] == "NODE_UP" for node in controllers.ask("node", "list")["nodes"]), 60)
            print(f"| the leader of {arguments.nodes} nodes | first order | half of the nodes | tasks go on | bar | lost or counted twice | |\n"
                  "|---|---|---|---|---|---|---|", flush=True)
            right = [
                measure_loss(fleet, controllers, tasks, "stops (SIGTERM)",
                             lambda leader: leader.process.send_signal(signal.SIGTERM), STOPPED_BAR),
                measure_loss(fleet, controllers, tasks, "is killed (kill -9)", lambda leader: leader.kill(), KILLED_BAR),
            ]
            measure_cancel(fleet, controllers)
        finally:
            if controllers is not None:
                controllers.stop()
            members.stop()
            fleet.stop()
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
