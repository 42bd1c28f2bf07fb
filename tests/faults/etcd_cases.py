"""Several controllers with a store in etcd: each fault by itself, always the same."""

import base64
import contextlib
import json
import os
import subprocess
import threading
import time
import urllib.error

import cluster
import controllers
import network
import scene
from cluster import MIB, run, wait_for
from scene import SERVICE, SLOW, Restarter

import etcd

LEASE = 4
# A transaction of etcd takes 128 operations.
ROOTS = 160
# Until a call works again after a member of etcd died, and after the controller that led did.
WRITES_BACK = 3.0
TAKEN_OVER = 8.0
# While a silent member is found out each try at it costs 2 s; at worst the leader loses its lease over that. Twice,
# since cases run beside each other: this is no promise, but tells waiting from standing still.
SILENCE = 2 * (2.0 + TAKEN_OVER)


class Cluster(scene.Scene):
    # What was sent while nobody knew that the leader is none any more.
    order_seconds = 2.0 + LEASE

    def make_etcd(self, flags=()):
        self.etcd = etcd.Etcd(self.directory, flags=flags)
        self.addCleanup(self.etcd.stop)

    def begin_with_etcd(self, etcd_flags=(), before=lambda controller: None, proxies=False,
                        flags=(f"--lease={LEASE}s",)):
        self.make_etcd(etcd_flags)
        self.etcd.start()
        self.before_start = before
        for kind in ("btrfs", "xfs"):
            self.add_node(kind, kind, proxies)
        for _ in range(2):
            self.add_controller(flags, self.etcd.store())
        self.leader()
        self.await_nodes()

    def stop_store(self):
        self.etcd.stop()

    def add_server(self, server):
        # Its own address tells it from the others, so any port will do.
        server.port = 7400 + len(self.controllers)
        server.command.append(f"--advertise={server.address}")
        self.before_start(server)

    @staticmethod
    def leads(controller):
        try:
            return controller.metrics()[1].get("cowherd_controller_leads") == 1
        except OSError:
            return False

    def leader(self, among=None):
        """The one that leads, once there is one."""
        return wait_for("one controller leads", lambda: next(
            (one for one in among or self.controllers if one.process.poll() is None and self.leads(one)), None))

    def others(self, leader):
        return [controller for controller in self.controllers if controller is not leader]

    def submits(self, seconds):
        """Jobs asked for one after the other; the ids, and the longest that one took."""
        made, longest = [], 0.0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            made.append(self.submit(self.ranges("btrfs")))
            longest = max(longest, time.monotonic() - begin)
            time.sleep(0.05)
        return made, longest

    def during(self, seconds, what, act, at_most, waits=None):
        """Jobs asked for during so long, while that happens; none waits for longer than `at_most`. How long one did
        comes into `waits`."""
        timer = threading.Timer(0.5, act)
        timer.start()
        made, longest = self.submits(seconds)
        timer.join()
        print(f"  {what}: no job waited longer than {longest:.2f} s", flush=True)
        self.assertLess(longest, at_most)
        if waits is not None:
            waits.append(longest)
        return made

    def running(self):
        """A job that takes some seconds."""
        slow = self.submit(self.scan(sets=[0], rate=SLOW // 3))
        self.await_running(slow)
        return slow

    def refuses(self, stale, job):
        """What it is asked now it must not do, whether it knows by now or not."""
        for _ in range(20):
            for method in ("CancelJob", "PauseJob"):
                with self.assertRaises(controllers.Failed) as refused:
                    self.api.once(method, self.request(method, id=job), address=stale.address)
                self.assertIn(refused.exception.code, ("UNAVAILABLE", "DEADLINE_EXCEEDED"), str(refused.exception))


class Processes(Cluster):
    """That die and stand still."""

    def test_etcd_the_leader_stands_still_beyond_its_lease(self):
        self.begin_with_etcd()
        slow = self.running()
        stale = self.leader()
        stale.freeze()
        other = self.leader(self.others(stale))
        self.api.addresses = [other.address]
        self.ask("PauseJob", slow)
        after = self.submit(self.ranges("btrfs"))

        def look():
            try:
                self.api.once("GetJob", self.request("GetJob", id=slow), timeout=10, address=stale.address)
            except controllers.Failed:
                pass  # as it should, or it reads as a follower; the checker sees what is too old

        # They are there when it wakes up.
        looks = [threading.Thread(target=look) for _ in range(16)]
        for one in looks:
            one.start()
        time.sleep(0.5)
        stale.thaw()
        self.refuses(stale, slow)
        for one in looks:
            one.join()
        self.ask("ResumeJob", slow)
        self.await_success(slow, after)
        self.finish()

    def test_etcd_the_leader_is_killed(self):
        self.begin_with_etcd()
        slow = self.running()
        with Restarter(*self.controllers):
            made = self.during(LEASE + 6, "the leader killed", lambda: self.leader().kill(), TAKEN_OVER)
        self.await_success(slow, *made)
        self.finish()

    def test_etcd_answers_of_transactions_are_lost(self):
        self.begin_with_etcd()
        slow = self.running()
        leader = self.leader()
        # What was carried out is asked for again, three times in a row.
        self.arm(leader, *(f"etcd.txn.answer {hit}-{hit + 2} error" for hit in range(10, 100, 10)))
        made, _ = self.submits(4)
        self.assertIn("etcd.txn.answer", self.seen(leader))
        self.await_success(slow, *made)
        self.finish()

    def kill_at_each(self, names):
        """kill -9 of the leader when it comes to a failpoint, and of the one that follows it there too."""
        for name in names:
            with self.subTest(name):
                leader = self.leader()
                for controller in self.controllers:
                    self.arm(controller, f"{name} 1- kill")
                if "raise_epoch" in name:
                    # That comes once a term.
                    self.assertEqual(leader.stop(), 0)
                    self.others(leader)[0].process.wait(10)
                with Restarter(*self.controllers, before=self.arm) as restarter:
                    try:
                        self.exercise()
                    finally:
                        for controller in self.controllers:
                            self.arm(controller)
                        for job_id in self.all_jobs():
                            self.ask("CancelJob", job_id)
                died = sum(restarter.deaths.values()) - ("raise_epoch" in name)
                self.assertGreaterEqual(died, 1, f"{name} was never met")

    def test_etcd_kill_9_at_every_write_of_the_store(self):
        self.begin_with_etcd()
        names = [name for name in scene.failpoints("store") if name.endswith("after")]
        self.assertGreater(len(names), 5)
        self.kill_at_each(names)
        self.finish()

    def test_etcd_kill_9_before_every_write_of_the_store(self):
        self.begin_with_etcd()
        names = [name for name in scene.failpoints("store") if name.endswith("before")]
        self.assertGreater(len(names), 5)
        self.kill_at_each(names)
        self.finish()

    def kill_at_transactions(self, name):
        """At the first, the second and so on of a life as leader."""
        self.begin_with_etcd()
        for hit in (1, 2, 3, 5, 9, 17):
            with self.subTest(f"{name} {hit}"):
                first = self.leader()
                second = self.others(first)[0]
                # With its life its count begins anew.
                self.assertEqual(second.stop(), 0)
                self.arm(second, f"{name} {hit}- kill")
                second.start()
                self.await_health(second, "", "alive")
                self.assertEqual(first.stop(), 0)
                with Restarter(*self.controllers, before=self.arm) as restarter:
                    slow = self.submit(self.scan(sets=[hit % scene.SETS], rate=2 * SLOW))
                    made, _ = self.submits(1)
                    self.await_success(slow, *made)
                self.assertEqual(restarter.deaths[second], 1)
        self.finish()

    def test_etcd_kill_9_before_every_transaction(self):
        self.kill_at_transactions("etcd.txn.before")

    def test_etcd_kill_9_after_every_transaction(self):
        """It was carried out, and nobody has heard of that."""
        self.kill_at_transactions("etcd.txn.answer")

    def test_etcd_kill_9_within_a_large_write(self):
        """One that does not fit in a transaction: a job of more tasks than that takes operations, made and ended."""
        self.begin_with_etcd()
        node, wide = self.nodes["btrfs"], self.filesystems["btrfs"].path / "wide"
        self.assertEqual(node.stop(), 0)
        for number in range(ROOTS):
            (wide / f"{number}").mkdir(parents=True)
            for copy in ("a", "b"):
                cluster.write_random(wide / f"{number}" / copy, MIB // 8, f"wide {number}")
            node.command.append(f"--root=wide{number}={wide / str(number)}")
        node.start()
        self.await_nodes()
        # Each such write has two batches, made at once: one waits, so that the other is all that there is.
        late = [f"etcd.batch.before {hit} sleep=500" for hit in range(2, 40, 2)]
        for name in ("etcd.journal.written", "etcd.journal.committed", "etcd.batch.after", "etcd.journal.applied"):
            with self.subTest(name):
                with self.dying_at(name, *late):
                    # So slow that nearly all of its tasks still wait when it is cancelled.
                    wide_job = self.submit(self.scan(["btrfs"], rate=MIB // 32))
                    self.await_job(wide_job, lambda job: len(job["tasks"]) > ROOTS)
                with self.dying_at(name, *late):
                    self.ask("CancelJob", wide_job)
                    ended = self.await_job(wide_job)
                self.assertEqual(ended["state"], "CANCELLED")
                self.assertEqual(len(ended["tasks"]), ROOTS + 1)
                # Not the job alone, nor some of them.
                self.assertFalse({task["state"] for task in ended["tasks"]} & {"TASK_WAITING", "TASK_RUNNING"})
                self.await_success(self.submit(self.ranges("xfs")))
        # The files that are checked are those of all cases.
        for path in wide.glob("*/*"):
            path.unlink()
        self.finish()

    @contextlib.contextmanager
    def dying_at(self, name, *lines):
        """Whichever controller comes to that failpoint dies there, once."""
        for controller in self.controllers:
            self.arm(controller, f"{name} 1- kill", *lines)
        with Restarter(*self.controllers, before=self.arm) as restarter:
            try:
                yield
            finally:
                for controller in self.controllers:
                    self.arm(controller)
        self.assertGreaterEqual(sum(restarter.deaths.values()), 1, f"{name} was never met")

    def test_etcd_kill_9_of_its_leader(self):
        """With the defaults of --lease (5 s) and of etcd.

        Of its members the first one to miss the leader asks for votes after 1 to 1.9 s. If the other has not missed it for
        a whole second by then, or asks at the same time, nobody wins: one in five times. Of the second round the end comes
        after 2.9 s at most. A write that was lost with the leader is sent again after 2 s, and one that a member holds
        back goes on when there is a leader; so a write waits for 2 to 2.9 s. The leader of the controllers stays: it
        renews its lease twice a second, so 3.5 s are left to it, which is enough until a member has a leader again, and
        that one gives all leases their whole time anew. Not so if it takes a third round; such an election proves only
        that all goes on, and the next one is measured.
        """
        # The default lease, and the way of the order.
        self.order_seconds = 2.0 + 5
        self.begin_with_etcd(flags=())
        slow = self.running()
        made, measured = [], 0

        def rounds():
            return int(self.etcd.ask("maintenance/status")["raftTerm"])

        for _ in range(10):
            leader = self.leader()
            time.sleep(1)  # it renews its lease
            killed, before, waits = self.etcd.leader(), rounds(), []
            made += self.during(4, "the leader of etcd killed", lambda: self.etcd.kill(killed), SILENCE, waits)
            self.etcd.start_member(killed)
            wait_for("the member is back", lambda: "etcd_server_has_leader 1" in self.etcd.metrics(killed))
            if rounds() - before <= 2:
                self.assertLess(waits[0], WRITES_BACK)
                self.assertTrue(self.leads(leader))
                measured += 1
            if measured == 3:
                break
        self.assertEqual(measured, 3)
        self.await_success(slow, *made)
        self.finish()

    def test_etcd_a_member_stands_still(self):
        self.begin_with_etcd()
        leader = self.etcd.leader()
        for member, what in ((leader, "the leader of etcd frozen"), ((leader + 1) % 3, "a member frozen")):
            made = self.during(5, what, lambda: self.etcd.freeze(member), SILENCE)
            self.etcd.thaw(member)
            self.await_success(*made)
        self.finish()

    def test_etcd_the_quorum_is_lost(self):
        self.begin_with_etcd()
        slow = self.running()
        for controller in self.controllers:
            wait_for("it is healthy", lambda: self.healthy(controller))
        for member in (0, 1):
            self.etcd.kill(member)
        for controller in self.controllers:
            self.await_health(controller, "alive")
            # Also while nothing answers.
            self.assertEqual(controller.metrics()[1]["cowherd_controller_leads"], 0)
        with self.assertRaises(controllers.Failed):
            self.submit(self.ranges("btrfs"), seconds=0)
        for member in (0, 1):
            self.etcd.start_member(member)
        leader = self.leader()
        self.await_health(leader, SERVICE, "", "alive")
        self.await_health(*self.others(leader), "", "alive")
        self.await_success(slow, self.submit(self.ranges("btrfs")))
        self.finish()


class Disk(Cluster):
    """The first member's disk is one of its own."""

    def lead_by(self, member):
        """Lets that member of etcd lead the others."""
        members = {one["name"]: one["ID"] for one in self.etcd.ask("cluster/member/list")["members"]}
        leader = self.etcd.leader()
        if leader != member:
            self.etcd.ask("maintenance/transfer-leadership", leader, targetID=members[f"m{member}"])
            wait_for("it leads", lambda: self.etcd.leader() == member)

    def make_etcd(self, flags=()):
        super().make_etcd(flags)
        image, disk = self.directory / "etcd0.image", self.etcd.data(0)
        with open(image, "wb") as file:
            file.truncate(256 * MIB)
        disk.mkdir()
        run("mkfs.ext4", "-q", image)
        run("mount", "-o", "loop", image, disk)
        self.addCleanup(subprocess.run, ["umount", str(disk)], capture_output=True)
        self.mounts.append(disk)
        self.addCleanup(self.etcd.stop)
        self.addCleanup(subprocess.run, ["fsfreeze", "--unfreeze", str(disk)], capture_output=True)
        data = self.etcd.data
        self.etcd.data = lambda member: disk / "data" if member == 0 else data(member)
        self.disk = disk

    def test_etcd_the_disk_of_its_leader_hangs(self):
        self.begin_with_etcd()
        slow = self.running()
        self.lead_by(0)
        made = self.during(8, "the disk of the leader of etcd hangs",
                           lambda: run("fsfreeze", "--freeze", self.disk), SILENCE)
        # What it says of itself is of before.
        self.assertTrue(any("etcd_server_is_leader 1" in self.etcd.metrics(member) for member in (1, 2)))
        run("fsfreeze", "--unfreeze", self.disk)
        self.await_success(slow, *made)
        self.finish()


class Store(Cluster):
    """etcd that cannot, or will not."""

    def test_etcd_is_full(self):
        self.begin_with_etcd(["--quota-backend-bytes", str(4 * MIB)])
        slow = self.running()
        leader = self.leader()
        value = base64.b64encode(bytes(256 << 10)).decode()
        with self.assertRaises(urllib.error.HTTPError) as full:
            for number in range(100):
                self.etcd.ask("kv/put", key=base64.b64encode(b"ballast/%d" % number).decode(), value=value)
        self.assertIn(b"database space exceeded", full.exception.read())

        def refused():
            try:
                self.submit(self.ranges("xfs"), seconds=0)
            except controllers.Failed as failed:
                return failed
            return None

        failed = wait_for("a job is refused", refused)
        self.assertEqual((failed.code, failed.reason), ("RESOURCE_EXHAUSTED", "STORE_FULL"), str(failed))
        self.assertIn("disarm its NOSPACE alarm", str(failed))
        wait_for("the log says so", lambda: any(
            "the quota of the etcd cluster is used up" in json.dumps(line) for line in leader.log_lines()))
        # It answers, and goes on leading, though no service can do its work.
        self.await_health(leader, "", "alive")
        self.assertTrue(self.leads(leader))
        self.look(slow)
        # As the message says.
        ballast, end = (base64.b64encode(key).decode() for key in (b"ballast/", b"ballast0"))
        revision = self.etcd.ask("kv/deleterange", key=ballast, range_end=end)["header"]["revision"]
        self.etcd.ask("kv/compaction", revision=revision, physical=True)
        for member in range(3):
            self.etcd.ask("maintenance/defragment", member)
        for alarm in self.etcd.ask("maintenance/alarm", action="GET")["alarms"]:
            self.etcd.ask("maintenance/alarm", action="DEACTIVATE", **alarm)
        self.await_health(self.leader(), SERVICE, "", "alive")
        self.await_success(slow, self.submit(self.ranges("xfs")))
        self.finish()

    def test_etcd_is_compacted_under_a_watch(self):
        """Followers watch the leader's key; what they ask for is compacted before they do."""
        self.begin_with_etcd()
        stopped = threading.Event()
        compacted = []

        def compact():
            while not stopped.wait(0.05):
                try:
                    revision = self.etcd.ask("kv/range", key="AA==")["header"]["revision"]
                    self.etcd.ask("kv/compaction", revision=revision)
                    compacted.append(revision)
                except urllib.error.HTTPError:
                    pass  # it was by another

        compactor = threading.Thread(target=compact)
        compactor.start()
        try:
            for _ in range(2):
                leader = self.leader()
                for other in self.others(leader):
                    self.arm(other, "etcd.watch.before 1- sleep=500")
                made, _ = self.submits(2 * LEASE)
                self.assertTrue(all("etcd.watch.before" in self.seen(other) for other in self.others(leader)))
                leader.kill()
                begin = time.monotonic()
                self.leader(self.others(leader))
                self.assertLess(time.monotonic() - begin, TAKEN_OVER)
                self.arm(leader)
                leader.start()
                self.await_success(*made)
        finally:
            stopped.set()
            compactor.join()
        self.assertGreater(len(compacted), 20)
        self.finish()

    def test_etcd_refuses_the_password(self):
        self.make_etcd()
        self.etcd.start()
        user = {"name": "root", "password": "right"}
        self.etcd.ask("auth/user/add", **user)
        self.etcd.ask("auth/role/add", name="root")
        self.etcd.ask("auth/user/grant", user="root", role="root")
        self.etcd.ask("auth/enable")
        password = self.directory / "password"
        password.write_text("wrong\n")
        self.add_node("btrfs", "btrfs")
        controller = self.controller(
            self.nodes, ["--etcd_user=root", f"--etcd_password_file={password}"], store=self.etcd.store())
        controller.port = 7400
        controller.command.append(f"--advertise={controller.address}")
        controller.start()
        refusals = wait_for("the log says so", lambda: [
            line for line in controller.log_lines() if "--etcd_password_file" in json.dumps(line)], 3)
        self.assertEqual(refusals[0]["level"], "error")
        self.await_health(controller, "alive")
        # It does not ask in a loop: to check a password takes etcd a while.
        time.sleep(6)
        self.assertLess(len(controller.log_lines()), 10)
        token = self.etcd.ask("auth/authenticate", **user)["token"]
        self.etcd.ask("auth/user/changepw", token=token, name="root", password="wrong")
        wait_for("it leads", lambda: self.leads(controller))
        self.await_health(controller, SERVICE, "", "alive")
        self.assertEqual(controller.stop(), 0)
        self.finished = True

    def test_etcd_the_clock_of_the_leader_jumps(self):
        offsets = {}

        def fake(controller):
            offsets[controller] = self.directory / f"offset{len(offsets)}"
            offsets[controller].write_text("+0")
            self.fake_clock(controller, offsets[controller])

        self.begin_with_etcd(before=fake)
        leader = self.leader()
        for jump in ("+3600", "-3600", "+0"):
            with self.subTest(jump):
                slow = self.submit(self.scan(sets=[0], rate=MIB // 32))
                self.await_running(slow)
                offsets[leader].write_text(jump)
                wait_for("the leader's log shows the jump", lambda: self.logged_ahead(leader, int(jump)))
                revision = self.look(slow)["revision"]
                self.await_job(slow, lambda job: job["state"] == "RUNNING" and job["revision"] > revision + 1)
                # For longer than a lease lasts.
                time.sleep(LEASE)
                self.assertTrue(self.leads(leader))
                self.ask("CancelJob", slow)
        # The one that follows is two hours behind.
        offsets[leader].write_text("+7200")
        wait_for("the leader's log shows the jump", lambda: self.logged_ahead(leader, 7200))
        slow = self.running()
        leader.kill()
        self.leader(self.others(leader))
        leader.start()
        self.await_success(slow)
        self.finish()


class Partition(Cluster):
    """Members of etcd talk to each other on one network, all else is on another: each may be cut."""

    def make_etcd(self, flags=()):
        # For tests, by RFC 2544; another number for each process.
        number = os.getpid() % 255
        self.peers = network.Network("peers", f"198.19.{number}")
        self.addCleanup(self.peers.close)
        self.clients = network.Network("clients", f"198.18.{number}")
        self.addCleanup(self.clients.close)
        self.here = self.clients.join(1)
        super().make_etcd(flags)
        for member in range(3):
            place = self.place()
            self.etcd.enter[member] = place.enter
            self.etcd.peers[member] = f"{self.peers.join(10 + member, place)}:2380"
            self.etcd.clients[member] = f"{self.clients.join(10 + member, place)}:2379"
            # So that a controller can be cut off from all of them.
            self.clients.separate(10 + member)

    def place(self):
        place = network.Place()
        self.addCleanup(place.close)
        return place

    def server(self, program, *flags):
        server = super().server(program, *flags, "--allow_remote_plaintext")
        server.host = self.here
        return server

    def add_server(self, server):
        place = self.place()
        server.host = self.clients.join(20 + len(self.controllers), place)
        server.command[:0] = place.enter
        super().add_server(server)

    def port(self, controller):
        return 20 + self.controllers.index(controller)

    def test_etcd_its_leader_is_cut_off_from_the_others(self):
        """Controllers still reach it, and hear nothing but silence."""
        self.begin_with_etcd()
        slow = self.running()
        for _ in range(2):
            cut = self.etcd.leader()
            made = self.during(7, "the leader of etcd cut off from its peers", lambda: self.peers.cut(10 + cut), SILENCE)
            others = wait_for("others have a leader", lambda: [
                member for member in range(3)
                if member != cut and "etcd_server_is_leader 1" in self.etcd.metrics(member)])
            self.assertNotIn(cut, others)
            self.peers.heal(10 + cut)
            self.await_success(*made)
        self.await_success(slow)
        self.finish()

    def test_etcd_its_leader_is_cut_off_from_everybody(self):
        self.begin_with_etcd()
        slow = self.running()
        cut = self.etcd.leader()

        def act(change):
            for side in (self.peers, self.clients):
                change(side, 10 + cut)

        made = self.during(7, "the leader of etcd cut off", lambda: act(network.Network.cut), SILENCE)
        act(network.Network.heal)
        self.await_success(slow, *made)
        self.finish()

    def test_etcd_no_member_reaches_another(self):
        self.begin_with_etcd()
        slow = self.running()
        for controller in self.controllers:
            wait_for("it is healthy", lambda: self.healthy(controller))
        for member in range(3):
            self.peers.cut(10 + member)
        for controller in self.controllers:
            self.await_health(controller, "alive")
        with self.assertRaises(controllers.Failed):
            self.submit(self.ranges("btrfs"), seconds=0)
        for member in range(3):
            self.peers.heal(10 + member)
        self.await_success(slow, self.submit(self.ranges("btrfs")))
        self.finish()

    def test_etcd_the_leader_is_cut_off_from_it(self):
        """Nodes and callers still reach it."""
        self.begin_with_etcd()
        slow = self.running()
        stale = self.leader()
        self.api.addresses = [stale.address, *(other.address for other in self.others(stale))]
        self.api.first = 0
        made = self.during(LEASE + 6, "the leader cut off from etcd",
                           lambda: self.clients.separate(self.port(stale)), TAKEN_OVER)
        other = self.leader(self.others(stale))
        self.refuses(stale, slow)
        self.await_health(stale, "alive")
        self.await_health(other, SERVICE, "", "alive")
        self.clients.separate(self.port(stale), False)
        self.await_health(stale, "", "alive")
        self.await_success(slow, *made)
        self.finish()

    def test_etcd_the_leader_is_cut_off_from_everybody(self):
        self.begin_with_etcd()
        slow = self.running()
        stale = self.leader()
        self.api.addresses = [stale.address, *(other.address for other in self.others(stale))]
        self.api.first = 0
        # A call that is on its way takes its whole time.
        made = self.during(LEASE + 8, "the leader cut off from everybody",
                           lambda: self.clients.cut(self.port(stale)), TAKEN_OVER + 4)
        self.clients.heal(self.port(stale))
        wait_for("it is back", lambda: not self.leads(stale) and self.healthy(stale))
        self.refuses(stale, slow)
        self.await_success(slow, *made)
        self.finish()
