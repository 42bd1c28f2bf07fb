"""A random run: clients that ask for all sorts of things, while one fault follows the other. All follows from the seed."""

import random
import threading
import time
import uuid

import controllers
import etcd_cases
import scene
from cluster import MIB, wait_for
from scene import ENDED, Restarter

CLIENTS = 3
# Jobs of one client that have not ended.
OPEN = 3
# Jobs of one client that have, and are not deleted: a store keeps the last 1,000 of all.
KEPT = 200


class Client(threading.Thread):
    """One caller, with its own luck."""

    def __init__(self, stage, seed):
        super().__init__()
        self.stage = stage
        self.luck = random.Random(seed)
        self.open = []
        self.kept = []
        self.sent = []
        self.requests = set()
        self.watches = []
        # What rests, as PauseNode's and PauseCluster's fields, and until when.
        self.held = []
        # Its name, and the requests that asked for runs of it.
        self.schedule = None
        self.runs = []
        self.stopped = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.stopped.is_set():
                self.step()
            if self.schedule is not None:
                self.delete_schedule(seconds=30)
        except BaseException as error:  # told by the thread that waits
            self.error = error
        for watch in self.watches:
            watch.join()

    def step(self):
        acts = [(4, self.submit), (2, self.again), (2, self.look), (1, self.watch), (2, self.cancel), (2, self.pause),
                (2, self.resume), (1, self.delete), (1, self.list), (1, self.hold), (1, self.plan)]
        if len(self.open) >= OPEN:
            acts = acts[1:]
        self.lift()
        act = self.luck.choices([act for _, act in acts], [weight for weight, _ in acts])[0]
        if len(self.kept) > KEPT:
            act = self.forget
        try:
            act()
        except controllers.Failed:
            pass  # recorded; the checker judges what was answered
        self.stopped.wait(self.luck.uniform(0, 0.3))

    def spec(self):
        stage, luck = self.stage, self.luck
        name = luck.choice(list(stage.nodes))
        number = luck.randrange(scene.SETS)
        rate = luck.choice([0, MIB, 2 * MIB, 4 * MIB])
        if luck.random() < 0.3:
            spec = stage.ranges(name, number)
        else:
            if luck.random() < 0.5:
                stage.unshare(name, number)
            spec = stage.scan(luck.choice([None, [name]]), [number], rate, dry_run=luck.random() < 0.15)
            nodes = spec.scan.nodes
            if nodes.all and luck.random() < 0.3:
                spec.canary.nodes = 1
            if not nodes.all and luck.random() < 0.3:
                nodes.labels.labels["disk"] = name
        spec.priority = luck.choice([-5, 0, 0, 5])
        if luck.random() < 0.2:
            # Always open.
            spec.windows.add(cron="*/10 * * * *").duration.FromSeconds(1200)
        return spec

    def new_id(self):
        request_id = str(uuid.UUID(int=self.luck.getrandbits(128)))
        self.requests.add(request_id)
        return request_id

    def submit(self):
        self.sent.append((self.spec(), self.new_id()))
        self.send(*self.sent[-1])

    def send(self, spec, request_id):
        """Sometimes several times side by side."""
        self.several(lambda: self.stage.submit(spec, request_id, seconds=10))

    def several(self, make):
        times = self.luck.choice([1, 1, 1, 3])
        made = []

        def one():
            try:
                made.append(make())
            except controllers.Failed:
                pass

        threads = [threading.Thread(target=one) for _ in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.open += [job for job in set(made) if job not in self.open]

    def again(self):
        if self.sent:
            spec, request_id = self.luck.choice(self.sent)
            job = self.stage.submit(spec, request_id, seconds=0)
            # A new one, where the first was deleted.
            if job not in self.open and job not in self.kept:
                self.open.append(job)

    def some(self):
        return self.luck.choice(self.open) if self.open else None

    def one_call(self, method):
        job = self.some()
        if job is not None:
            answer = self.stage.ask(method, job, seconds=self.luck.choice([0, 5]))
            state = self.stage.protos.controller.JobState.Name(answer.state)
            if state in ENDED and self.luck.random() < 0.7:
                self.open.remove(job)
                self.kept.append(job)

    def look(self):
        self.one_call("GetJob")

    def cancel(self):
        self.one_call("CancelJob")

    def pause(self):
        self.one_call("PauseJob")

    def resume(self):
        self.one_call("ResumeJob")

    def delete(self):
        job = self.some()
        if job is not None:
            self.stage.api.once("DeleteJob", self.stage.request("DeleteJob", id=job))
            self.open.remove(job)

    def forget(self):
        try:
            self.stage.api.once("DeleteJob", self.stage.request("DeleteJob", id=self.kept[0]))
        except controllers.Failed as failed:
            if failed.reason != "JOB_UNKNOWN":
                raise
        self.kept.pop(0)

    def watch(self):
        job = self.some()
        self.watches = [watch for watch in self.watches if watch.is_alive()]
        if job is not None and len(self.watches) < 20:
            self.watches.append(threading.Thread(target=self.stage.api.watch, args=(job, 5)))
            self.watches[-1].start()

    def list(self):
        """Takes up those that it asked for without hearing of them."""
        for job in self.stage.api.once("ListJobs", self.stage.request("ListJobs")).jobs:
            # A schedule puts its own name before.
            if job.request_id.rpartition("/")[2] in self.requests and job.id not in (*self.open, *self.kept):
                self.open.append(job.id)

    def hold(self):
        """A node, or now and then all of them, for a while."""
        node = self.luck.choice([None, *self.stage.nodes])
        fields = {} if node is None else {"node": node}
        method = self.luck.choice(["Pause", "Drain"]) + ("Node" if fields else "Cluster")
        self.held.append((fields, time.monotonic() + self.luck.uniform(0, 12 if fields else 3)))
        self.stage.api.call(method, self.stage.request(method, **fields), seconds=5)

    def lift(self):
        for fields, until in self.held[:]:
            if time.monotonic() < until:
                continue
            try:
                self.stage.lift(fields, seconds=5)
                self.held.remove((fields, until))
            except controllers.Failed:
                pass  # the next time

    def plan(self):
        """A schedule that is never due is made, runs when it is asked to, and goes again."""
        stage, luck = self.stage, self.luck
        if self.schedule is None:
            name, spec = f"s{luck.getrandbits(32):08x}", stage.protos.controller.ScheduleSpec(
                job=self.spec(), cron="0 0 1 1 *", suspended=True, overlap=luck.choice([1, 2, 3]), keep_succeeded=50,
                keep_failed=50)
            self.schedule, self.runs = name, []
            stage.api.call("CreateSchedule", stage.request("CreateSchedule", name=name, spec=spec), seconds=5)
        elif luck.random() < 0.2:
            self.delete_schedule(seconds=5)
        else:
            if not self.runs or luck.random() < 0.7:
                self.runs.append(self.new_id())
            asked = stage.request("RunScheduleNow", name=self.schedule, request_id=luck.choice(self.runs))
            self.several(lambda: stage.api.call("RunScheduleNow", asked, seconds=10).id)

    def delete_schedule(self, seconds):
        try:
            self.stage.api.call("DeleteSchedule", self.stage.request("DeleteSchedule", name=self.schedule), seconds)
        except controllers.Failed as failed:
            if failed.reason != "SCHEDULE_UNKNOWN":
                raise
        self.schedule = None


class Random:
    """What random runs have in common."""

    def lift(self, fields, seconds=30.0):
        method = "ResumeNode" if fields else "ResumeCluster"
        self.api.call(method, self.request(method, **fields), seconds)

    def lift_all(self):
        """Also what is held late, by a call that nobody waits for any more."""
        def nothing_rests():
            for fields in ({}, *({"node": name} for name in self.nodes)):
                self.lift(fields)
            nodes = self.api.call("ListNodes", self.request("ListNodes"))
            return not nodes.HasField("cluster_hold") and not any(node.HasField("hold") for node in nodes.nodes)

        wait_for("nothing rests", nothing_rests)

    def controller_that(self):
        """The one that something happens to."""
        return self.luck.choice(self.controllers)

    def faults(self):
        """name -> what to do; each leaves everything as it was."""
        luck = self.luck

        def node():
            return luck.choice(list(self.nodes.values()))

        def way():
            return luck.choice(list(self.proxies.values()))

        def kill(server):
            server.kill()  # the restarter sees it

        def freeze(server, most):
            server.freeze()
            time.sleep(luck.uniform(0.1, most))
            server.thaw()

        def failpoint(server, *programs):
            name = luck.choice(scene.failpoints(*programs))
            self.arm(server, f"{name} {luck.randrange(1, 6)}- {luck.choice(['kill', 'kill', 'sleep=300'])}")
            time.sleep(luck.uniform(0.5, 2))
            self.arm(server)

        def failing_store():
            controller = self.controller_that()
            self.arm(controller, *(f"{name} 1- error" for name in scene.failpoints("store") if name.endswith(".before")))
            time.sleep(luck.uniform(0.1, 2))
            self.arm(controller)

        def black_hole():
            one = way()
            one.black_hole()
            time.sleep(luck.uniform(0.1, 4))
            one.heal()

        def refuse():
            one = way()
            one.cut(refuse=True)
            time.sleep(luck.uniform(0.1, 2))
            one.heal()

        return {
            "a controller is killed": lambda: kill(self.controller_that()),
            "a controller stands still": lambda: freeze(self.controller_that(), self.controller_rest),
            "a controller meets a failpoint": lambda: failpoint(self.controller_that(), *self.points),
            "the store fails": failing_store,
            "a node is killed": lambda: kill(node()),
            "a node stands still": lambda: freeze(node(), 4),
            "a node meets a failpoint": lambda: failpoint(node(), "node"),
            "a way is a black hole": black_hole,
            "a way is cut": lambda: way().cut(),
            "a way refuses": refuse,
        }

    def run_at_random(self, begin):
        self.luck = random.Random(f"{self.id()} {scene.Options.seed}")
        begin()
        faults = self.faults()
        clients = [Client(self, f"client {number} {scene.Options.seed}") for number in range(CLIENTS)]
        end = time.monotonic() + scene.Options.seconds
        with Restarter(*self.controllers, *self.nodes.values(), before=self.arm):
            for client in clients:
                client.start()
            while time.monotonic() < end and not any(client.error for client in clients):
                time.sleep(self.luck.uniform(0, 2))
                name = self.luck.choice(list(faults))
                print(f"  {time.strftime('%H:%M:%S')} {name}", flush=True)
                faults[name]()
            for client in clients:
                client.stopped.set()
            for client in clients:
                client.join()
            for server in (*self.controllers, *self.nodes.values()):
                self.arm(server)
        for client in clients:
            if client.error is not None:
                raise client.error
        self.lift_all()
        self.finish(seconds=120)


class WithSqlite(Random, scene.Scene):
    # Nodes stand still and ways are black holes for up to 4 s.
    order_seconds = 8.0
    controller_rest = 3.0
    points = ("store", "controller")

    def test_random(self):
        self.run_at_random(lambda: self.begin(proxies=True))


class WithEtcd(Random, etcd_cases.Cluster):
    # And nobody may know for a lease that the leader is none any more.
    order_seconds = 8.0 + etcd_cases.LEASE
    controller_rest = 2.0 * etcd_cases.LEASE
    points = ("store", "controller", "etcd")

    def faults(self):
        luck, etcd = self.luck, self.etcd

        def dies(*members):
            for member in members:
                etcd.kill(member)
            time.sleep(luck.uniform(0, 4))
            for member in members:
                etcd.start_member(member)

        def rests(*members):
            for member in members:
                etcd.freeze(member)
            time.sleep(luck.uniform(0.1, 6))
            for member in members:
                etcd.thaw(member)

        def compacts():
            try:
                revision = etcd.ask("kv/range", luck.randrange(3), key="AA==")["header"]["revision"]
                etcd.ask("kv/compaction", revision=revision)
            except OSError:
                pass  # it has no leader just now

        return {
            **super().faults(),
            "a member of etcd is killed": lambda: dies(luck.randrange(3)),
            "a member of etcd stands still": lambda: rests(luck.randrange(3)),
            "the quorum is killed": lambda: dies(*luck.sample(range(3), 2)),
            "the quorum stands still": lambda: rests(*luck.sample(range(3), 2)),
            "etcd is compacted": compacts,
        }

    def test_random_etcd(self):
        self.run_at_random(lambda: self.begin_with_etcd(proxies=True))
