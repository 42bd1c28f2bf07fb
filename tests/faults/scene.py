"""Controllers, nodes and their filesystems for a fault test, everything that happens recorded and checked at the end."""

import datetime
import os
import pathlib
import re
import shutil
import sys
import tempfile
import threading
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import cluster
from cluster import BIN, MIB, REPOSITORY, run, wait_for

import checker
import controllers
import history
import proxy

CONTROLLER = BIN / "tests/faults/cowherd-controller-failpoints"
NODE = BIN / "tests/faults/cowherd-node-failpoints"
ENDED = checker.ENDED
SETS = 3
# Of 3 MiB: a job takes about two seconds.
SLOW = 3 * MIB // 2
SERVICE = "cowherd.v1.ControllerService"
LIBFAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


class Options:
    """Of this run: see run.py."""

    seed = 1
    seconds = 60.0
    histories = pathlib.Path("/var/tmp")


def protos():
    """Made once."""
    if not hasattr(Options, "protos"):
        Options.directory = tempfile.TemporaryDirectory(prefix="cowherd-protos.")
        Options.protos = controllers.Protos(pathlib.Path(Options.directory.name), REPOSITORY / "proto")
    return Options.protos


def failpoints(*programs):
    """Every failpoint of these programs ("store", "controller", "node"), read from the source, so that none is left out."""
    names = set()
    for path in (REPOSITORY / "server").rglob("*"):
        if path.suffix in (".h", ".cc"):
            names.update(re.findall(rf'"((?:{"|".join(programs)})\.[a-z_]+\.[a-z_]+)"', path.read_text()))
    return sorted(names)


class Restarter:
    """Starts a server again whenever it dies, from `with` to its end."""

    def __init__(self, *servers, before=lambda server: None):
        self.servers = servers
        self.before = before
        self.deaths = {server: 0 for server in servers}
        self.stopped = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.keep)

    def keep(self):
        try:
            while not self.stopped.wait(0.02):
                self.revive()
            self.revive()
        except BaseException as error:  # told by the thread that waits
            self.error = error

    def revive(self):
        for server in self.servers:
            if server.process.poll() is None:
                continue
            self.deaths[server] += 1
            self.before(server)
            try:
                server.start()
            except AssertionError:
                # It died again: so does its next life begin.
                if server.process.poll() is None:
                    raise

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        if self.error is not None:
            raise self.error


class Scene(cluster.ClusterTest):
    """A test ends with finish(), or nothing has been proved."""

    order_seconds = 2.0

    def setUp(self):
        super().setUp()
        self.protos = protos()
        Options.histories.mkdir(exist_ok=True)
        self.history_file = Options.histories / f"cowherd-history.{self.id().split('.')[-1]}.{Options.seed}.jsonl"
        self.recorded = history.History(self.history_file)
        self.filesystems = {}
        self.nodes = {}
        self.proxies = {}
        self.controllers = []
        self.mounts = []
        self.finished = False
        self.addCleanup(self.keep_what_failed)

    def run(self, result=None):
        self.result = result
        return super().run(result)

    def keep_what_failed(self):
        if self.finished and self.result.wasSuccessful():
            self.history_file.unlink()
            return
        place = self.history_file.with_suffix(".logs")
        place.mkdir(exist_ok=True)
        for log in self.directory.glob("*.log"):
            shutil.copy(log, place)

    # What there is.

    def server(self, program, *flags):
        server = super().server(program, *flags)
        # Of this process alone, so that nobody else takes the port of a server that is dead for a moment.
        server.host = f"127.{os.getpid() >> 16 & 63 | 64}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        return server

    def begin(self, kinds=("btrfs", "xfs"), proxies=False, flags=(), node_flags=(), store=None):
        """Filesystems with duplicate files, a node for each, one controller."""
        for kind in kinds:
            self.add_node(kind, kind, proxies, node_flags)
        self.add_controller(flags, store)
        self.await_nodes()

    def add_node(self, name, kind, proxied=False, flags=(), sets=SETS):
        filesystem = self.filesystem(kind, 512)
        data = filesystem.path / "data"
        for number in range(sets):
            (data / f"set{number}").mkdir(parents=True)
            for copy in ("a", "b", "c"):
                self.write(data / f"set{number}" / copy, number)
        filesystem.sync()
        self.filesystems[name] = filesystem
        # Others may keep the disk busy meanwhile: that is not to hold up the jobs.
        node = self.node(name, f"data={data}", program=NODE, flags=[
            "--max_io_pressure=0", f"--label=disk={name}", f"--state_dir={self.directory}/state-{name}", *flags])
        self.arm(node)
        self.nodes[name] = node.start()
        if proxied:
            self.proxies[name] = proxy.Proxy(node.host, node.port)
            self.addCleanup(self.proxies[name].close)

    @staticmethod
    def write(path, number):
        """Two files are equal, the third is for the most part."""
        cluster.write_random(path, MIB, f"set {number}")
        if path.name == "c":
            with open(path, "r+b") as file:
                file.write(b"c" * 4096)

    def unshare(self, name, number):
        """Gives the files of a set storage of their own again, with the same content."""
        for copy in ("b", "c"):
            path = self.filesystems[name].path / "data" / f"set{number}" / copy
            data = path.read_bytes()
            with open(path, "r+b") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def add_controller(self, flags=(), store=None):
        reached = self.proxies or self.nodes
        controller = self.controller(reached, flags, program=CONTROLLER, store=store)
        self.arm(controller)
        self.add_server(controller)
        self.controllers.append(controller.start())
        if len(self.controllers) == 1:
            self.before = {name: cluster.checksums(fs.path / "data") for name, fs in self.filesystems.items()}
            self.api = controllers.Controllers(self.protos, self.recorded, [])
            self.addCleanup(self.api.close)
        self.api.addresses.append(controller.address)
        return controller

    def add_server(self, server):
        """What a controller needs besides, before it starts."""

    def stop_store(self):
        """What runs besides the controllers, when they are gone."""

    def await_nodes(self, seconds=20.0):
        request = self.protos.controller.ListNodesRequest()
        up = self.protos.controller.NODE_UP

        def all_up():
            nodes = self.api.call("ListNodes", request).nodes
            return len(nodes) == len(self.nodes) and all(node.state == up for node in nodes)

        wait_for("all nodes are up", all_up, seconds)

    def await_down(self, names):
        if not names:
            return
        request, down = self.protos.controller.ListNodesRequest(), self.protos.controller.NODE_DOWN
        wait_for(f"{names} are down", lambda: {
            node.name for node in self.api.call("ListNodes", request).nodes if node.state == down} >= set(names))

    # Failpoints.

    @staticmethod
    def file_of(server):
        return pathlib.Path(f"{server.log}.failpoints")

    def arm(self, server, *lines):
        """NAME HITS ACTION each: see active_failpoints.cc. None: nothing happens any more."""
        path = self.file_of(server)
        new = path.with_suffix(".new")
        new.write_text("".join(line + "\n" for line in lines))
        new.rename(path)  # never seen half written
        server.environment["COWHERD_FAILPOINTS"] = str(path)

    def seen(self, server):
        path = pathlib.Path(f"{self.file_of(server)}.seen")
        return set(path.read_text().split()) if path.exists() else set()

    # Jobs.

    def scan(self, names=None, sets=None, rate=0, dry_run=False):
        """A spec: the nodes of these names, or all; these sets of files, or all."""
        spec = self.protos.controller.JobSpec()
        scan = spec.scan
        scan.options.bytes_per_second = rate
        scan.options.dry_run = dry_run
        scan.options.full_scan = bool(sets)
        if names is None:
            scan.nodes.all = True
        else:
            scan.nodes.names.names.extend(names)
        for name in names or self.nodes:
            for number in sets or ():
                scan.paths.append(str(self.filesystems[name].path / "data" / f"set{number}").encode())
        return spec

    def ranges(self, name, number=0, pieces=4):
        """A spec: file a of the set with b, piece by piece."""
        spec = self.protos.controller.JobSpec()
        node = spec.ranges.nodes.add(node=name)
        directory = self.filesystems[name].path / "data" / f"set{number}"
        for piece in range(pieces):
            request = node.ranges.requests.add(length=MIB // pieces)
            for position, file in ((request.source, "a"), (request.destinations.add(), "b")):
                position.path = str(directory / file).encode()
                position.offset = piece * (MIB // pieces)
        return spec

    def request(self, method, /, **fields):
        return getattr(self.protos.controller, method + "Request")(**fields)

    def submit(self, spec, request_id=None, seconds=30.0):
        """The id of the job."""
        request = self.request("CreateJob", spec=spec, request_id=request_id or str(uuid.uuid4()))
        return self.api.call("CreateJob", request, seconds).id

    def ask(self, method, job_id, seconds=30.0):
        return self.api.call(method, self.request(method, id=job_id), seconds)

    def look(self, job_id):
        return history.plain(self.ask("GetJob", job_id))

    def await_job(self, job_id, condition=lambda job: job["state"] in ENDED, seconds=40.0):
        last = {}

        def there():
            last["job"] = self.look(job_id)
            return last["job"] if condition(last["job"]) else None

        try:
            return wait_for(f"job {job_id}", there, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last['job']}") from None

    def await_running(self, job_id):
        return self.await_job(job_id, lambda job: job["state"] in ENDED or any(
            task["state"] == "TASK_RUNNING" for task in job["tasks"]))

    def await_success(self, *job_ids, seconds=40.0):
        for job_id in job_ids:
            job = self.await_job(job_id, seconds=seconds)
            self.assertEqual(job["state"], "SUCCEEDED", job)

    def exercise(self):
        """Every kind of call and of message, in some seconds. May be interrupted anywhere."""
        done = self.submit(self.ranges("btrfs"))
        for name in self.filesystems:
            self.unshare(name, 0)
        slow = self.submit(self.scan(sets=[0], rate=SLOW))
        self.exercise_a_schedule()
        self.await_success(done)
        try:
            self.ask("DeleteJob", done)
        except controllers.Failed as failed:
            # The answer was lost.
            self.assertEqual(failed.reason, "JOB_UNKNOWN")
        self.await_running(slow)
        try:
            self.ask("PauseJob", slow)
            self.ask("ResumeJob", slow)
        except controllers.Failed as failed:
            self.assertEqual(failed.reason, "JOB_ENDED")
        self.await_success(slow)
        cancelled = self.submit(self.scan(sets=[1], rate=SLOW // 16))
        self.await_running(cancelled)
        self.ask("CancelJob", cancelled)
        self.await_job(cancelled)

    def exercise_a_schedule(self):
        """One that is never due. What a lost answer had done already is no error."""
        spec = self.protos.controller.ScheduleSpec(job=self.scan(), cron="0 0 1 1 *", suspended=True)
        for method, fields, done in (("CreateSchedule", {"spec": spec}, "ALREADY_EXISTS"), ("GetSchedule", {}, ""),
                                     ("DeleteSchedule", {}, "NOT_FOUND"), ("GetSchedule", {}, "NOT_FOUND")):
            try:
                self.api.call(method, self.request(method, name="never", **fields))
            except controllers.Failed as failed:
                self.assertEqual(failed.code, done, str(failed))

    # Clocks and health.

    @staticmethod
    def fake_clock(server, offset):
        """Its clock is ahead by the seconds that the file names."""
        server.environment.update(
            LD_PRELOAD=LIBFAKETIME, FAKETIME_TIMESTAMP_FILE=str(offset), FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1")

    def logged_ahead(self, server, seconds):
        """Whether its newest line is so far from the real time."""
        time.sleep(0.5)  # a look at the clock may be so old
        self.submit(self.ranges("xfs"))
        return abs(unix(server.log_lines()[-1]["ts"]) - time.time() - seconds) < 60

    @staticmethod
    def healthy(server, name=""):
        """What its health service says of a name. None: it does not answer."""
        # By a connection of its own, as a probe does.
        alone = [*controllers.CHANNEL, ("grpc.use_local_subchannel_pool", 1)]
        with controllers.grpc.insecure_channel(server.address, alone) as channel:
            request = b"\x0a" + bytes([len(name)]) + name.encode() if name else b""
            try:
                return channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=5) == b"\x08\x01"
            except controllers.grpc.RpcError:
                return None

    def await_health(self, server, *healthy, among=(SERVICE, "", "alive"), seconds=15.0):
        """Of these names, those that are SERVING are `healthy`, and no others."""
        wait_for(f"of {among} {healthy} are healthy",
                 lambda: all(self.healthy(server, name) is (name in healthy) for name in among), seconds)

    # The end.

    def runs(self):
        """What the nodes' logs say, in the order of the runs' begin; the nodes' last lives."""
        runs, lives = [], {}
        for name, node in self.nodes.items():
            life, open_runs = 0, {}
            for line in node.log_lines():
                if line["msg"] == "serving":
                    life, open_runs = life + 1, {}
                elif line["msg"] == "task started":
                    run_began = {"task": line["task"], "node": name, "life": life, "attempt": line["attempt"],
                                 "epoch": line["epoch"], "began": unix(line["ts"])}
                    open_runs[line["task"]] = run_began
                    runs.append(run_began)
                elif line["msg"] == "task ended":
                    open_runs.pop(line["task"]).update(
                        ended=unix(line["ts"]), ok=line["status"] == "OK",
                        ranges_deduped=line["ranges_deduped"], bytes_accepted=line["bytes_accepted"])
            lives[name] = life
        return sorted(runs, key=lambda one: one["began"]), lives

    def all_jobs(self):
        listed, token = [], ""
        while True:
            answer = self.api.call("ListJobs", self.request("ListJobs", page_size=100, page_token=token))
            listed += [job.id for job in answer.jobs]
            token = answer.next_page_token
            if not token:
                return listed

    def finish(self, seconds=60.0):
        """All jobs end, all processes stop in order, and the checker finds nothing wrong."""
        self.await_nodes()
        end = time.monotonic() + seconds
        for job_id in self.all_jobs():
            if self.look(job_id)["state"] == "PAUSED":
                try:
                    self.ask("ResumeJob", job_id)
                except controllers.Failed as failed:
                    self.assertEqual(failed.reason, "JOB_ENDED")
            self.await_job(job_id, seconds=max(1.0, end - time.monotonic()))
        # All goes on as ever; the nodes sweep what they had not finished writing.
        self.await_success(self.submit(self.scan(dry_run=True)), self.submit(self.scan()))
        listed = self.all_jobs()
        jobs = {job_id: self.look(job_id) for job_id in listed}
        for server in (*self.controllers, *self.nodes.values()):
            self.assertEqual(server.stop(), 0, server.log)
            server.log_lines()
        self.stop_store()
        runs, lives = self.runs()
        files, strange, mounts = {}, [], []
        for name, filesystem in self.filesystems.items():
            after = cluster.checksums(filesystem.path / "data")
            files.update({str(path): [before, after.get(path)] for path, before in self.before[name].items()})
            strange += [str(path) for path in filesystem.path.rglob("*")
                        if path.is_file() and path not in self.before[name]]
            state = self.directory / f"state-{name}"
            strange += [str(path) for path in state.rglob("*.new")]
            filesystem.unmount()  # fails if anything holds it
        for place in self.mounts:
            run("umount", place)
        with open("/proc/self/mounts") as table:
            mounts += [line.split()[1] for line in table if str(self.directory) + "/" in line]
        most = {"bytes_accepted": 3 * SETS * MIB, "ranges_deduped": 3 * SETS * MIB // 4096}
        final = {"jobs": jobs, "listed": listed, "runs": runs, "lives": lives, "order_seconds": self.order_seconds,
                 "roots": {name: most for name in self.nodes}, "files": files, "strange": strange, "mounts": mounts}
        calls = self.recorded.calls()
        with open(self.history_file, "a") as file:
            file.write(checker.json.dumps({"final": final}) + "\n")
        problems = checker.check(calls, final)
        self.assertEqual(problems, [], f"see {self.history_file}")
        self.finished = True
        print(f"  {len(calls)} calls, {len(jobs)} jobs, {len(runs)} runs: nothing wrong", flush=True)


def unix(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
