"""A random run: clients that ask for all sorts of things, while one fault follows the other. All follows from the seed."""

import random
import threading
import time
import uuid

import controllers
import etcd_cases
import scene
from cluster import MIB
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
        self.watches = []
        self.stopped = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.stopped.is_set():
                self.step()
        except BaseException as error:  # told by the thread that waits
            self.error = error
        for watch in self.watches:
            watch.join()

    def step(self):
        acts = [(4, self.submit), (2, self.again), (2, self.look), (1, self.watch), (2, self.cancel), (2, self.pause),
                (2, self.resume), (1, self.delete), (1, self.list)]
        if len(self.open) >= OPEN:
            acts = acts[1:]
        act = self.luck.choices([act for _, act in acts], [weight for weight, _ in acts])[0]
        if len(self.kept) > KEPT:
            act = self.forget
        try:
            act()
        except controllers.Failed:
            pass  # recorded; the checker judges what was answered
        self.stopped.wait(self.luck.uniform(0, 0.3))

    def submit(self):
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
        self.sent.append((spec, str(uuid.UUID(int=luck.getrandbits(128)))))
        self.send(*self.sent[-1])

    def send(self, spec, request_id):
        """Sometimes several times side by side."""
        times = self.luck.choice([1, 1, 1, 3])
        made = []

        def one():
            try:
                made.append(self.stage.submit(spec, request_id, seconds=10))
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
        if job is not None and len(self.watches) < 20:
            self.watches.append(threading.Thread(target=self.stage.api.watch, args=(job, 5)))
            self.watches[-1].start()

    def list(self):
        self.stage.api.once("ListJobs", self.stage.request("ListJobs"))


class Random:
    """What random runs have in common."""

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
