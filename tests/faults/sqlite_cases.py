"""One controller with SQLite: each fault by itself, always the same."""

import os
import random
import signal
import subprocess
import threading
import time

import cluster
import controllers
import scene
from cluster import MIB, run, wait_for
from scene import ENDED, SERVICE, SLOW, Restarter



class Calm(scene.Scene):
    """One fault at a time."""

    def kill_at_each(self, names, servers):
        """kill -9 of the servers, each when it first comes to a failpoint; the random run does so at later times."""
        for name in names:
            with self.subTest(name):
                for server in servers:
                    self.arm(server, f"{name} 1 kill")
                    # Those that begin a life are met again.
                    server.kill()
                # Else tasks are sent to the nodes of before, and blamed for their end.
                self.await_down([node for node in self.nodes if self.nodes[node] in servers])
                for server in servers:
                    server.launch()
                with Restarter(*servers, before=self.arm) as restarter:
                    try:
                        self.await_nodes()
                        self.exercise()
                    finally:
                        for server in servers:
                            self.arm(server)
                        # What is left of one that failed is not in the way of the next.
                        for job_id in self.all_jobs():
                            self.ask("CancelJob", job_id)
                self.assertGreaterEqual(max(restarter.deaths.values()), 1, f"{name} was never met")

    def test_kill_9_of_the_controller_at_every_failpoint(self):
        self.begin()
        self.exercise()
        names = scene.failpoints("store", "controller")
        self.assertGreater(len(names), 15)
        self.kill_at_each(names, self.controllers)
        self.finish()

    def test_kill_9_of_the_node_at_every_failpoint(self):
        self.begin()
        names = scene.failpoints("node")
        self.assertGreater(len(names), 10)
        self.kill_at_each(names, list(self.nodes.values()))
        self.finish()

    def test_kill_9_of_the_node_in_the_middle(self):
        self.begin()
        jobs = [self.submit(self.scan(sets=[number], rate=SLOW)) for number in range(2)]
        self.await_running(jobs[0])
        for node in self.nodes.values():
            node.kill()
        time.sleep(1)
        for node in self.nodes.values():
            node.start()
        self.await_success(*jobs)
        self.finish()

    def test_the_store_fails_for_a_while(self):
        self.begin()
        slow = self.submit(self.scan(sets=[0], rate=SLOW))
        self.await_running(slow)
        self.arm(self.controllers[0], "store.write.before 1- error", "store.create.before 1- error")
        with self.assertRaises(controllers.Failed) as refused:
            self.submit(self.scan(), seconds=0)
        self.assertEqual(refused.exception.reason, "FAILPOINT")
        with self.assertRaises(controllers.Failed):
            self.ask("CancelJob", slow, seconds=0)
        time.sleep(3)
        self.arm(self.controllers[0])
        self.await_success(slow)
        self.finish()

    def test_the_controller_stands_still(self):
        self.begin()
        jobs = [self.submit(self.scan(sets=[number], rate=SLOW)) for number in range(2)]
        self.await_running(jobs[0])
        self.controllers[0].freeze()
        with self.assertRaises(controllers.Failed) as late:
            self.api.once("GetJob", self.request("GetJob", id=jobs[0]), timeout=1)
        self.assertEqual(late.exception.code, "DEADLINE_EXCEEDED")
        time.sleep(3)
        self.controllers[0].thaw()
        self.await_success(*jobs)
        self.finish()

    def test_the_clock_jumps(self):
        self.add_node("xfs", "xfs")
        offset = self.directory / "offset"
        offset.write_text("+0")
        self.before = {}
        controller = self.controller(self.nodes, program=scene.CONTROLLER)
        self.arm(controller)
        self.fake_clock(controller, offset)
        self.controllers.append(controller.start())
        self.before = {name: cluster.checksums(fs.path / "data") for name, fs in self.filesystems.items()}
        self.api = controllers.Controllers(self.protos, self.recorded, [controller.address])
        self.addCleanup(self.api.close)
        self.await_nodes()
        for jump in ("+3600", "-3600", "+0"):
            with self.subTest(jump):
                slow = self.submit(self.scan(sets=[0], rate=MIB // 32))
                watch = threading.Thread(target=self.api.watch, args=(slow,))
                watch.start()
                self.await_running(slow)
                offset.write_text(jump)
                # Or this test would prove nothing.
                wait_for("the controller's log shows the jump", lambda: self.logged_ahead(controller, int(jump)))
                revision = self.look(slow)["revision"]
                self.await_job(slow, lambda job: job["state"] == "RUNNING" and job["revision"] > revision + 1, seconds=5)
                self.ask("CancelJob", slow)
                watch.join(5)
                self.assertFalse(watch.is_alive(), "the watch hangs")
        # A window in an hour: open while the clock says so, and closed again once it is right.
        opens = time.gmtime(time.time() + 3600 - 300)
        spec = self.scan(sets=[0], rate=MIB // 32)
        spec.windows.add(cron=f"{opens.tm_min} {opens.tm_hour} * * *").duration.FromSeconds(1800)
        windowed = self.submit(spec)
        for jump, state, reason in (("+0", "TASK_WAITING", "WINDOW_CLOSED"), ("+3600", "TASK_RUNNING", ""),
                                    ("+0", "TASK_WAITING", "WINDOW_CLOSED")):
            with self.subTest(f"a window, {jump}"):
                offset.write_text(jump)
                self.await_job(windowed, lambda job: all(
                    (task["state"], task["reason"]) == (state, reason) for task in job["tasks"]), seconds=15)
        self.ask("CancelJob", windowed)
        jumps = [line["by_seconds"] for line in controller.log_lines() if line["msg"].startswith("the machine's clock was set")]
        self.assertEqual(jumps, [3600, -7200, 3600, 3600, -3600])
        offset.write_text("-3600")
        slow = self.submit(self.scan(sets=[1], rate=SLOW))
        self.await_running(slow)
        controller.kill()
        offset.write_text("-7200")
        controller.start()
        self.await_success(slow, seconds=15)
        self.finish()

    # The disk of the store.

    def mounted(self, *command):
        place = self.directory / "store"
        place.mkdir()
        run(*command, place)
        self.addCleanup(subprocess.run, ["umount", str(place)], capture_output=True)
        self.mounts.append(place)
        return place

    def test_the_disk_of_the_store_is_full(self):
        place = self.mounted("mount", "-t", "tmpfs", "-o", "size=4m", "none")
        self.begin(store=place / "jobs.db")
        slow = self.submit(self.scan(sets=[0], rate=SLOW))
        self.await_running(slow)
        with open(place / "ballast", "wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)):
                    pass
            except OSError:
                pass

        def refused():
            try:
                self.submit(self.scan(), seconds=0)
            except controllers.Failed as failed:
                return failed
            return None

        # Some more fit into the file as it is.
        failed = wait_for("a job is refused", refused)
        self.assertEqual((failed.code, failed.reason), ("RESOURCE_EXHAUSTED", "STORE_FULL"), str(failed))
        self.look(slow)
        # It answers, though no service can do its work.
        self.await_health(self.controllers[0], "", "alive")
        (place / "ballast").unlink()
        self.await_health(self.controllers[0], SERVICE, "", "alive")
        self.await_success(slow)
        self.finish()

    def loop_xfs(self):
        image = self.directory / "store.image"
        with open(image, "wb") as file:
            file.truncate(320 * MIB)
        run("mkfs.xfs", "-q", image)
        return image, self.mounted("mount", "-o", "loop", image)

    def test_the_disk_of_the_store_hangs(self):
        _, place = self.loop_xfs()
        self.addCleanup(subprocess.run, ["fsfreeze", "--unfreeze", str(place)], capture_output=True)
        self.begin(store=place / "jobs.db")
        controller = self.controllers[0]
        slow = self.submit(self.scan(sets=[0], rate=SLOW // 4))
        self.await_running(slow)
        self.await_health(controller, SERVICE, "", "alive")
        run("fsfreeze", "--freeze", place)
        # What waits for it says so; the process is alive, and can be looked into.
        self.await_health(controller, "alive")
        with self.assertRaises(controllers.Failed) as late:
            self.api.once("GetJob", self.request("GetJob", id=slow), timeout=1)
        self.assertEqual(late.exception.code, "DEADLINE_EXCEEDED")
        begin = time.monotonic()
        for _ in range(10):
            self.assertIn("cowherd_controller_leads", controller.metrics()[1])
        self.assertLess(time.monotonic() - begin, 2)
        run("fsfreeze", "--unfreeze", place)
        self.await_health(controller, SERVICE, "", "alive")
        self.await_success(slow)
        self.finish()

    def test_the_disk_of_the_store_fails(self):
        """The filesystem shuts down as at a disk's failure: what was not on disk by then never comes there."""
        image, place = self.loop_xfs()
        self.begin(store=place / "jobs.db")
        jobs = []
        gone = threading.Event()

        def submit():
            while not gone.is_set():
                try:
                    jobs.append(self.submit(self.scan(sets=[0]), seconds=0))
                except controllers.Failed:
                    return

        threads = [threading.Thread(target=submit) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for("some jobs", lambda: len(jobs) > 10)
        # Not within an fsync: one that the shutdown meets half done may say that all went well (Linux 6.18).
        controller = self.controllers[0]
        controller.freeze()
        run("xfs_io", "-x", "-c", "shutdown", place)
        controller.thaw()
        with self.assertRaises(controllers.Failed) as refused:
            for _ in range(100):
                self.submit(self.scan(), seconds=0)
        gone.set()
        for thread in threads:
            thread.join()
        self.assertEqual(refused.exception.reason, "STORE_IO", str(refused.exception))
        controller.kill()
        run("umount", place)
        # Whoever has mounts of his own may hold this one for a while.
        wait_for("the disk is let go", lambda: not run("losetup", "--associated", image).stdout, 60)
        run("mount", "-o", "loop", image, place)
        controller.start()
        self.await_success(*jobs, seconds=60)
        self.finish()

    def refusal(self, server):
        """Started again, it ends by itself with exit code 1; what it says."""
        begin = server.log.stat().st_size
        server.launch()
        self.assertEqual(server.process.wait(10), 1)
        return server.log.read_text()[begin:]

    def test_the_store_is_read_only(self):
        place = self.mounted("mount", "-t", "tmpfs", "none")
        self.begin(("btrfs",), store=place / "jobs.db")
        job = self.submit(self.ranges("btrfs"))
        self.await_success(job)
        self.assertEqual(self.controllers[0].stop(), 0)
        run("mount", "-o", "remount,ro", place)
        self.assertIn("read-only", self.refusal(self.controllers[0]))
        run("mount", "-o", "remount,rw", place)
        self.controllers[0].start()
        self.finish()

    def test_the_store_is_damaged(self):
        self.begin(("btrfs",))
        self.await_success(*[self.submit(self.ranges("btrfs", pieces=16)) for _ in range(20)])
        self.assertEqual(self.controllers[0].stop(), 0)
        store = self.directory / "jobs.db"
        good = store.read_bytes()
        middle = len(good) // 4 & ~4095
        damages = {
            "no SQLite at all": b"not a database" * 4096,
            "the first page torn": bytes(100) + good[100:],
            "garbage in the middle": good[:middle] + os.urandom(3 * 4096) + good[middle + 3 * 4096 :],
            "cut off": good[: len(good) // 2],
        }
        for what, bad in damages.items():
            with self.subTest(what):
                store.write_bytes(bad)
                self.assertIn("the store is damaged", self.refusal(self.controllers[0]))
                self.assertEqual(store.read_bytes(), bad, "a store that is refused stays as it is")
        store.write_bytes(good)
        self.controllers[0].start()
        self.finish()

    def test_two_controllers_on_one_file(self):
        self.begin(("btrfs",))
        second = self.controller(self.nodes)
        second.log.touch()
        self.assertIn("another process holds", self.refusal(second))
        self.await_success(self.submit(self.ranges("btrfs")))
        # Nor while the first stands still.
        self.controllers[0].freeze()
        self.assertIn("another process holds", self.refusal(second))
        self.controllers[0].thaw()
        self.finish()

    # The nodes and the way there.

    def test_all_nodes_restart_at_once(self):
        self.add_node("btrfs", "btrfs")
        place = self.filesystems["btrfs"].path / "data"
        for number in range(16):
            node = self.node(f"more{number}", f"data={place}", program=scene.NODE, flags=["--max_io_pressure=0"])
            self.arm(node)
            self.nodes[node.command[1].split("=")[1]] = node.start()
        self.add_controller()
        self.await_nodes()
        jobs = [self.submit(self.scan(["btrfs"], [0], rate=SLOW))]
        spec = self.scan(dry_run=True, rate=4 * SLOW)
        jobs.append(self.submit(spec))
        self.await_running(jobs[1])
        for node in self.nodes.values():
            node.kill()
        for node in self.nodes.values():
            node.launch()
        for node in self.nodes.values():
            node.await_serving()
        self.await_success(*jobs, seconds=90)
        self.finish()

    def test_a_node_stands_still(self):
        self.begin()
        slow = self.submit(self.scan(sets=[0], rate=SLOW))
        self.await_running(slow)
        self.nodes["xfs"].freeze()
        # The other one goes on, and so does the controller.
        self.await_success(self.submit(self.scan(["btrfs"], [1])))
        self.await_down(["xfs"])
        self.nodes["xfs"].thaw()
        self.await_success(slow)
        self.finish()

    def test_the_way_to_a_node_is_a_black_hole(self):
        self.begin(proxies=True)
        slow = self.submit(self.scan(sets=[0], rate=SLOW))
        self.await_running(slow)
        self.proxies["xfs"].black_hole()
        self.await_success(self.submit(self.scan(["btrfs"], [1])))
        cancelled = self.submit(self.scan(["xfs"], [1], rate=SLOW))
        self.ask("CancelJob", cancelled)
        time.sleep(4)
        self.proxies["xfs"].heal()
        self.await_success(slow)
        self.finish()

    def test_the_way_to_a_node_is_cut_again_and_again(self):
        self.begin(proxies=True)
        luck = random.Random("cut")
        slow = self.submit(self.scan(sets=[0], rate=SLOW // 2))
        self.await_running(slow)
        for _ in range(20):
            time.sleep(luck.uniform(0, 0.3))
            for way in self.proxies.values():
                way.cut()
        for way in self.proxies.values():
            way.cut(refuse=True)
        time.sleep(1)
        for way in self.proxies.values():
            way.heal()
        self.await_success(slow)
        self.finish()

    def test_orders_that_are_old_or_came_twice(self):
        self.begin(("btrfs",))
        done = self.submit(self.ranges("btrfs"))
        self.await_success(done)
        task = self.look(done)["tasks"][0]["id"]
        node = self.protos.node
        path = "/cowherd.v1.NodeService/RunTask"
        with controllers.grpc.insecure_channel(self.nodes["btrfs"].address) as channel:
            order = channel.unary_stream(path, node.RunTaskRequest.SerializeToString, node.RunTaskResponse.FromString)
            epoch = self.runs()[0][-1]["epoch"]
            ranges = self.ranges("btrfs").ranges.nodes[0].ranges
            # The same order again is answered with the run there was, and so is an attempt from before.
            for attempt in (1, 0):
                again = list(order(node.RunTaskRequest(task_id=task, attempt=attempt, epoch=epoch, ranges=ranges), timeout=5))
                self.assertTrue(again[-1].HasField("summary"))
            for lower in (epoch - 1, 1):
                with self.assertRaises(controllers.grpc.RpcError) as refused:
                    list(order(node.RunTaskRequest(task_id="other", attempt=1, epoch=lower, ranges=ranges), timeout=5))
                self.assertEqual(controllers.Failed("RunTask", refused.exception, self.protos).reason, "STALE_EPOCH")
        self.assertEqual(len(self.runs()[0]), 1)
        self.finish()

    # Clients.

    def test_a_request_that_is_sent_twice(self):
        self.begin(("btrfs",))
        first = self.submit(self.ranges("btrfs"), "same")
        self.assertEqual(self.submit(self.ranges("btrfs"), "same"), first)
        with self.assertRaises(controllers.Failed) as refused:
            self.submit(self.scan(), "same")
        self.assertEqual((refused.exception.code, refused.exception.reason), ("ALREADY_EXISTS", "REQUEST_ID_REUSED"))
        self.await_success(first)
        self.assertEqual(self.submit(self.ranges("btrfs"), "same"), first)
        # Side by side, while the controller dies and comes back.
        with Restarter(*self.controllers):
            for number in range(8):
                made = []
                threads = [threading.Thread(
                    target=lambda: made.append(self.submit(self.ranges("btrfs"), f"many{number}"))) for _ in range(8)]
                for thread in threads:
                    thread.start()
                if number % 2 == 1:
                    time.sleep(0.005 * number)
                    self.controllers[0].kill()
                for thread in threads:
                    thread.join()
                self.assertEqual((len(made), len(set(made))), (8, 1))
        self.finish()

    def test_cancel_while_the_job_completes(self):
        self.begin(("xfs",))
        luck = random.Random("cancel")
        ends = set()
        begin = time.monotonic()
        self.await_success(self.submit(self.scan(sets=[0], rate=4 * MIB)))
        usual = time.monotonic() - begin
        for number in range(24):
            job = self.submit(self.scan(sets=[0], rate=4 * MIB))
            # From long before the end to long after it.
            time.sleep(luck.uniform(0, usual) if 0 < number < 23 else number * usual / 10)
            self.ask("CancelJob", job)
            ends.add(self.await_job(job)["state"])
        self.assertEqual(ends, {"CANCELLED", "SUCCEEDED"}, "the race was always won by the same")
        self.finish()

    def test_pause_while_the_controller_dies(self):
        self.begin()
        luck = random.Random("pause")
        slow = self.submit(self.scan(sets=[0], rate=SLOW))
        with Restarter(*self.controllers):
            for number in range(6):
                self.await_job(slow, lambda job: job["state"] in ENDED or number == 0 or any(
                    task["state"] == "TASK_RUNNING" for task in job["tasks"]))
                killer = threading.Timer(luck.uniform(0, 0.1), self.controllers[0].kill)
                killer.start()
                for method in ("PauseJob", "ResumeJob"):
                    try:
                        self.ask(method, slow)
                    except controllers.Failed as failed:
                        self.assertEqual(failed.reason, "JOB_ENDED")
                    time.sleep(luck.uniform(0, 0.5))
                killer.join()
        self.await_success(slow)
        self.finish()


class Shipped(cluster.ClusterTest):
    def test_the_shipped_programs_hold_no_failpoints(self):
        for program, probed in ((cluster.CONTROLLER, scene.CONTROLLER), (cluster.NODE, scene.NODE)):
            self.assertNotIn(b"COWHERD_FAILPOINTS", program.read_bytes())
            self.assertIn(b"COWHERD_FAILPOINTS", probed.read_bytes())
        file = self.directory / "failpoints"
        file.write_text("store.raise_epoch.before 1- kill\n")
        for program, dies in ((cluster.CONTROLLER, False), (scene.CONTROLLER, True)):
            controller = self.controller({}, program=program)
            controller.environment["COWHERD_FAILPOINTS"] = str(file)
            if dies:
                controller.launch()
                self.assertEqual(controller.process.wait(10), -signal.SIGKILL)
            else:
                self.assertEqual(controller.start().stop(), 0)
