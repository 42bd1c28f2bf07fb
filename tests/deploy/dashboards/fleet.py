"""A fleet that lives: nodes on btrfs and XFS, two controllers over etcd, jobs over data that grows, and Prometheus beside it."""

import base64
import json
import mmap
import pathlib
import subprocess
import sys
import time
import urllib.parse
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "tests/integration"))
import cluster  # noqa: E402
import etcd  # noqa: E402
from cluster import COWHERD, MIB, wait_for, write_random  # noqa: E402

RULES = REPOSITORY / "deploy/monitoring/rules"
PAGE = REPOSITORY / "deploy/monitoring/page"
# All nodes but the one with the bad disk.
STORAGE = ("--name", "storage-1", "--name", "storage-2", "--name", "storage-3")


class Fleet(cluster.ClusterTest):
    """Not a test by itself: begin() starts it, and the cleanups of unittest end it."""

    def begin(self, scrape="1s", size_mib=1024):
        self.volumes, self.nodes = {}, {}
        for name, kinds in {"storage-1": "btrfs", "storage-2": "xfs", "storage-3": "btrfs xfs", "storage-4": "btrfs"}.items():
            roots = []
            for kind in kinds.split():
                filesystem = self.filesystem(kind, size_mib)
                volume = {"btrfs": "vm", "xfs": "backup"}[kind]
                self.volumes[name, volume] = filesystem
                roots.append(f"{volume}={filesystem.path}")
            if name == "storage-4":
                for copy in ("image", "copy"):
                    self.write(name, "vm", copy, 32, "archive")
                damage(self.volumes[name, "vm"], "image")
            state = self.directory / f"state-{name}"
            self.nodes[name] = self.node(name, *roots, flags=[f"--state_dir={state}"]).start()
        self.etcd = etcd.Etcd(self.directory, members=1)
        self.addCleanup(self.etcd.stop)
        self.etcd.start()
        self.controllers = [self.make_controller() for _ in range(2)]
        self.environment = {"COWHERD_CONTROLLER": ",".join(controller.address for controller in self.controllers)}
        for controller in self.controllers:
            controller.start()
        self.leader()
        wait_for("all nodes are up", lambda: [n["state"] for n in self.ask("node", "list")["nodes"]] == ["NODE_UP"] * len(self.nodes))
        self.start_prometheus(scrape)
        return self

    def make_controller(self):
        nodes = [f"--node={name}={node.address}" for name, node in self.nodes.items()]
        controller = self.server(cluster.CONTROLLER, f"--store={self.etcd.store()}", "--probe_interval=0.5s", "--lease=5s", *nodes)
        controller.command.append(f"--advertise={controller.address}")
        return controller

    def start_prometheus(self, scrape):
        def targets(job, servers):
            static = [{"targets": [f"127.0.0.1:{server.metrics_port}"], "labels": {"instance": name, "cluster": "demo"}}
                      for name, server in servers.items()]
            return {"job_name": job, "static_configs": static}

        controllers = {f"controller-{number}": controller for number, controller in enumerate(self.controllers, 1)}
        config = self.directory / "prometheus.yaml"
        # JSON is YAML.
        config.write_text(json.dumps({
            "global": {"scrape_interval": scrape, "evaluation_interval": scrape},
            "rule_files": [str(path) for path in sorted(RULES.glob("*.yaml"))],
            "scrape_configs": [targets("cowherd-node", self.nodes), targets("cowherd-controller", controllers)],
        }))  # fmt: skip
        self.prometheus = f"http://127.0.0.1:{cluster.free_ports(1)[0]}"
        self.spawn(
            "prometheus.log", "prometheus", f"--config.file={config}", f"--web.listen-address={self.prometheus[7:]}",
            f"--storage.tsdb.path={self.directory}/tsdb",
        )  # fmt: skip
        up = len(self.nodes) + len(self.controllers)
        wait_for("Prometheus scrapes all", lambda: self.value("sum(up)") == up)

    def start_page(self):
        """The address of deploy/monitoring/page."""
        log = self.spawn("page.log", "node", PAGE / "serve.mjs", f"--prometheus={self.prometheus}")
        wait_for("the page says something", lambda: "\n" in log.read_text(), 120)
        said = log.read_text()
        self.assertRegex(said, r"^dashboards: http\S+\n$")
        return said.split()[1]

    def spawn(self, log, *command):
        log = self.directory / log
        with open(log, "ab") as file:
            process = subprocess.Popen([str(word) for word in command], stdout=file, stderr=file)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return log

    def value(self, query):
        """Of the first series; None where there is none, or no answer."""
        try:
            with urllib.request.urlopen(f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=5) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return None
        return float(result[0]["value"][1]) if result else None

    def leader(self):
        def leads(controller):
            return controller.process.poll() is None and controller.metrics()[1]["cowherd_controller_leads"] == 1

        return wait_for("a controller leads", lambda: next(filter(leads, self.controllers), None), 30)

    def tell(self, *arguments, code=0):
        return self.cowherd(*arguments, code=code, environment=self.environment)

    def ask(self, *arguments):
        return self.tell("-o", "json", *arguments)

    def job_of(self, *arguments):
        """The id of a new job."""
        return self.ask("job", "create", *arguments)["id"]

    def ended(self, job):
        return self.ask("job", "get", job)["state"] in ("SUCCEEDED", "FAILED", "CANCELLED")

    def follow(self, job):
        """A client that watches the job."""
        self.spawn("watch.log", "env", *(f"{key}={value}" for key, value in self.environment.items()), COWHERD, "job", "watch", job)

    def write(self, node, volume, name, mib, seed):
        """Files with one seed are equal, as far as they go."""
        filesystem = self.volumes[node, volume]
        write_random(filesystem.path / name, mib * MIB, seed)
        filesystem.sync()


def damage(filesystem, name):
    """A block of the file, which is on btrfs, no longer has its checksum: to read it is an I/O error. Nobody may use it meanwhile."""
    block = (filesystem.path / name).read_bytes()[MIB : MIB + 4096]
    filesystem.sync()
    filesystem.unmount()
    with open(filesystem.image, "r+b") as file, mmap.mmap(file.fileno(), 0) as image:
        at = image.find(block)
        if at < 0:
            raise AssertionError(f"{name} is not in {filesystem.image}")
        image[at : at + 4096] = bytes(4096)
    filesystem.mount()


class Story:
    """What happens to a fleet within `seconds`: data comes, jobs find and share it, a controller dies, a disk fails, a node goes."""

    def __init__(self, fleet, seconds, pace, mib):
        self.fleet, self.pace, self.mib = fleet, pace, mib
        self.begun, self.seconds = time.monotonic(), seconds
        self.generation = 0
        self.jobs = []
        self.events = [
            (0.02, self.look), (0.06, self.job), (0.25, self.lose_leader), (0.4, self.come_back), (0.45, self.meet_bad_disk),
            (0.5, self.call_node), (0.55, self.run_schedule), (0.62, self.change_minds), (0.85, self.lose_node), (0.9, self.grow),
            (0.92, self.look),
        ]  # fmt: skip

    def tell(self):
        self.grow()
        while self.elapsed() < 1:
            while self.events and self.elapsed() >= self.events[0][0]:
                self.events.pop(0)[1]()
            # Data comes between jobs, as far as may be: who writes meanwhile takes from the space won.
            if self.jobs and self.fleet.ended(self.jobs[-1]) and self.elapsed() < 0.75:
                self.grow()
                self.job()
            time.sleep(0.5)

    def elapsed(self):
        return (time.monotonic() - self.begun) / self.seconds

    def grow(self):
        """On each volume copies of what there is, and some data of its own."""
        places = [place for place in self.fleet.volumes if place[0] != "storage-4"]
        for number, (node, volume) in enumerate(places):
            for copy in range(1 + (number + self.generation) % 3):
                self.fleet.write(node, volume, f"copy{self.generation}.{copy}", self.mib, "image")
            self.fleet.write(node, volume, f"new{self.generation}", max(self.mib // 8, 1), f"{number}/{self.generation}")
        self.generation += 1

    def job(self):
        job = self.fleet.job_of(*STORAGE, "--bytes_per_second", self.pace, "--display_name", "hourly")
        self.jobs.append(job)
        self.fleet.follow(job)

    def look(self):
        self.fleet.job_of(*STORAGE, "--dry_run", "--full", "--display_name", "estimate")

    def lose_leader(self):
        self.lost = self.fleet.leader()
        self.lost.kill()
        self.fleet.leader()

    def come_back(self):
        self.lost.start()

    def meet_bad_disk(self):
        self.fleet.job_of("--name", "storage-4", "--display_name", "archive")

    def call_node(self):
        """Equal data, other data, and a file that is not there; then a job that can only fail."""
        fleet = self.fleet
        address = fleet.nodes["storage-2"].address
        files = [fleet.volumes["storage-2", "backup"].path / name for name in ("one", "same", "other", "missing")]
        for path, seed in zip(files, (1, 1, 2)):
            write_random(path, MIB, seed)
        for destination, code in zip(files[1:], (0, 1, 1)):
            fleet.cowherd("dedupe", "--node", address, "--length", "1m", files[0], "0", destination, "0", code=code)

        there, missing = ({"path": base64.b64encode(bytes(path)).decode()} for path in (files[0], files[3]))
        ranges = {"requests": [{"length": MIB, "source": missing, "destinations": [there]}]}
        job = fleet.directory / "ranges.json"
        job.write_text(json.dumps({"nodes": [{"node": "storage-2", "ranges": ranges}]}))
        fleet.job_of("--ranges", job, "--display_name", "by-hand")

    def run_schedule(self):
        self.fleet.tell("schedule", "create", "nightly", "--cron", "30 2 * * *", *STORAGE)
        self.fleet.tell("schedule", "run", "nightly")

    def change_minds(self):
        """Jobs that wait for a window: one is cancelled, the other stays."""
        jobs = [self.fleet.job_of(*STORAGE, "--window", "0 4 29 2 * for 1m", "--display_name", "audit") for _ in range(2)]
        self.fleet.tell("job", "cancel", jobs[0])

    def lose_node(self):
        self.fleet.nodes["storage-4"].kill()
