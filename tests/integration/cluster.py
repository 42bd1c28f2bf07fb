"""Real cowherd processes on real filesystems, for the integration tests. Needs root and a build in bazel-bin."""

import atexit
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BIN = REPOSITORY / "bazel-bin"
COWHERD = BIN / "client/cowherd"
NODE = BIN / "server/node/cowherd-node"
CONTROLLER = BIN / "server/controller/cowherd-controller"
MIB = 1 << 20


def run(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, **more)


def wait_for(what, condition, seconds=20.0):
    """The condition's first true value; fails the test after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def _ports():
    """Ports that the kernel gives to nobody who connects: what a server leaves while it restarts stays free."""
    lowest, highest = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = [port for port in range(10000, 65536) if not lowest <= port <= highest] or list(range(10000, 65536))
    random.shuffle(ports)
    yield from ports


_PORTS = _ports()


def free_ports(count):
    """Ports of loopback where nobody listens, each given once."""
    ports = []
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("no free ports are left")


class LoopFilesystem:
    """A btrfs or XFS filesystem in a file, mounted at .path."""

    def __init__(self, directory, kind, size_mib=1024):
        self.kind = kind
        self.image = pathlib.Path(directory) / f"{kind}.image"
        self.path = pathlib.Path(directory) / kind
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(size_mib * MIB)
        self.make()
        self.mount()

    def make(self):
        run(f"mkfs.{self.kind}", "-f", "-q", self.image)

    def mount(self):
        run("mount", "-o", "loop", self.image, self.path)

    def unmount(self):
        run("umount", self.path)

    def sync(self):
        run("sync", "-f", self.path)

    def free(self):
        self.sync()
        stat = os.statvfs(self.path)
        return stat.f_bfree * stat.f_frsize


class Server:
    """A cowherd-node or cowherd-controller. Ports are stable over restarts."""

    def __init__(self, log, program, *flags):
        self.log = pathlib.Path(log)
        self.command = [str(program), *map(str, flags)]
        self.host = "127.0.0.1"
        self.environment = {}
        self.process = None
        self.port, self.metrics_port = free_ports(2)

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def start(self):
        self.launch()
        return self.await_serving()

    def launch(self):
        self.begin = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, f"--listen={self.host}:{self.port}", f"--metrics_listen={self.host}:{self.metrics_port}"],
                stderr=log,
                env={**os.environ, **self.environment},
            )

    def await_serving(self):
        def serving():
            with open(self.log, "rb") as log:
                log.seek(self.begin)
                for line in log:
                    if b'"msg":"serving"' in line and line.endswith(b"\n"):
                        return json.loads(line)
            if self.process.poll() is not None:
                raise AssertionError(f"{self.command[0]} ended: {self.log.read_bytes()[self.begin:].decode()}")
            return None

        wait_for(f"{self.command[0]} serves", serving)
        return self

    def kill(self):
        process = self.process  # another thread may start the next one at once
        process.kill()
        process.wait()

    def freeze(self):
        """Until it stands still, no thread within a call of the kernel; or is dead."""
        process = self.process
        process.send_signal(signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass  # it died, and another thread has seen that

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def metrics(self):
        """Text of /metrics, and its samples by 'name{labels}'."""
        with urllib.request.urlopen(f"http://{self.host}:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return text, samples

    def log_lines(self):
        """Every line must be one JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class ClusterTest(unittest.TestCase):
    """Gives each test a directory, filesystems and servers that go when it ends, however it ends."""

    def setUp(self):
        top = os.environ.get("COWHERD_TEST_DIR", "/var/tmp")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="integration.", dir=top))
        self.addCleanup(run, "rm", "-rf", self.directory)
        self.servers = 0

    def filesystem(self, kind, size_mib=1024):
        directory = self.directory / f"fs{len(list(self.directory.glob('fs*')))}"
        directory.mkdir()
        filesystem = LoopFilesystem(directory, kind, size_mib)
        # A test may have unmounted it itself.
        self.addCleanup(subprocess.run, ["umount", str(filesystem.path)], capture_output=True)
        return filesystem

    def server(self, program, *flags):
        self.servers += 1
        server = Server(self.directory / f"{program.name}{self.servers}.log", program, *flags)

        def end():
            if server.process is not None and server.process.poll() is None:
                server.kill()

        self.addCleanup(end)
        atexit.register(end)
        return server

    def node(self, name, *roots, flags=(), program=NODE):
        roots = [f"--root={root}" for root in roots]
        return self.server(program, f"--name={name}", *roots, *flags)

    def controller(self, nodes, flags=(), program=CONTROLLER, store=None):
        nodes = [f"--node={name}={node.address}" for name, node in nodes.items()]
        store = store or self.directory / "jobs.db"
        return self.server(program, f"--store={store}", "--probe_interval=0.5s", *nodes, *flags)

    def certificates(self):
        """An authority and one certificate for 127.0.0.1, as flags."""
        def file(name):
            return str(self.directory / name)

        with open(file("ext"), "w") as ext:
            ext.write("subjectAltName=IP:127.0.0.1,URI:spiffe://cowherd/test\n")
        openssl = lambda *arguments: run("openssl", *arguments)
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=authority",
                "-keyout", file("ca.key"), "-out", file("ca.pem"))
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=cowherd", "-keyout", file("key.pem"),
                "-out", file("csr"))
        openssl("x509", "-req", "-days", "1", "-in", file("csr"), "-CA", file("ca.pem"), "-CAkey", file("ca.key"),
                "-CAcreateserial", "-extfile", file("ext"), "-out", file("cert.pem"))
        return [f"--tls_cert={file('cert.pem')}", f"--tls_key={file('key.pem')}", f"--tls_ca={file('ca.pem')}"]

    def resolve_as(self, server, hosts):
        """Lets the server see these lines as /etc/hosts, in a mount namespace of its own."""
        # All of /etc: a bare system may have no hosts file to mount over.
        etc = self.directory / "etc"
        shutil.copytree("/etc", etc, symlinks=True)
        path = etc / "hosts"
        path.write_text(hosts)
        shell = f'mount --bind {etc} /etc && exec "$@"'
        server.command = ["unshare", "--mount", "sh", "-c", shell, "sh", *server.command]
        return path

    def cowherd(self, *arguments, code=0, environment=None):
        """Runs the command line, checks its exit code; its standard output, or with -o json the object."""
        done = subprocess.run(
            [COWHERD, *arguments], capture_output=True, timeout=120, env={**os.environ, **(environment or {})}
        )
        self.assertEqual(
            done.returncode, code, f"cowherd {arguments}\n{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}"
        )
        if "json" in arguments:
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            return lines[0] if len(lines) == 1 else lines
        return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")

    def job(self, controller, job_id):
        return self.cowherd("-o", "json", "job", "get", "--controller", controller.address, job_id)

    def create_job(self, controller, *arguments):
        return self.cowherd("-o", "json", "job", "create", "--controller", controller.address, *arguments)["id"]

    def wait_job(self, controller, job_id, state, seconds=60.0):
        return wait_for(
            f"job {state}",
            lambda: (lambda job: job if job["state"] == state else None)(self.job(controller, job_id)),
            seconds,
        )


def write_random(path, size, seed):
    """The same bytes for the same seed, no block twice; gone to disk."""
    with open(path, "wb") as file:
        for i in range(0, size, MIB):
            file.write(hashlib.shake_128(f"{seed}/{i}".encode()).digest(min(MIB, size - i)))
        file.flush()
        os.fsync(file.fileno())


def checksums(directory):
    sums = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        if path.is_file():
            sums[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return sums


def times(path):
    stat = os.stat(path)
    return stat.st_mtime_ns, stat.st_ctime_ns
