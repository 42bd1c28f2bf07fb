"""An etcd cluster for the tests: Debian's etcd-server, on free ports of loopback, data in a directory of the test's."""

import json
import pathlib
import signal
import socket
import ssl
import subprocess
import urllib.request

from cluster import free_ports, wait_for


class Etcd:
    def __init__(self, directory, members=3, tls=None, flags=()):
        """With `tls`, files for "cert", "key" and "ca", clients must show a certificate of that authority."""
        self.directory = pathlib.Path(directory)
        self.tls = tls
        self.flags = flags
        addresses = [f"127.0.0.1:{port}" for port in free_ports(2 * members)]
        self.clients, self.peers = addresses[:members], addresses[members:]
        # What the command of each begins with, so that it runs elsewhere.
        self.enter = [[] for _ in range(members)]
        self.processes = [None] * members

    def store(self, prefix="test"):
        """As --store takes it."""
        return f"etcd://{','.join(self.clients)}/{prefix}"

    def start(self):
        for member in range(len(self.processes)):
            self.start_member(member)
        wait_for("etcd has a leader", lambda: self.leader() is not None)
        return self

    def start_member(self, member):
        client = f"{'https' if self.tls else 'http'}://{self.clients[member]}"
        peer = f"http://{self.peers[member]}"
        cluster = ",".join(f"m{i}=http://{address}" for i, address in enumerate(self.peers))
        with open(self.directory / f"etcd{member}.log", "ab") as log:
            self.processes[member] = subprocess.Popen(
                [*self.enter[member], "etcd", "--name", f"m{member}", "--data-dir", str(self.data(member)),
                 "--listen-client-urls", client, "--advertise-client-urls", client,
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", cluster, "--logger", "zap", *self.tls_flags(), *self.flags],
                stdout=log, stderr=log,
            )

    def data(self, member):
        return self.directory / f"etcd{member}"

    def ask(self, path, member=0, token="", **body):
        """A call by the JSON gateway: its answer. Bytes are base64."""
        request = urllib.request.Request(
            f"http://{self.clients[member]}/v3/{path}", json.dumps(body).encode(),
            {"Authorization": token} if token else {})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def tls_flags(self):
        if not self.tls:
            return []
        return ["--client-cert-auth", "--cert-file", str(self.tls["cert"]), "--key-file", str(self.tls["key"]),
                "--trusted-ca-file", str(self.tls["ca"])]

    def leader(self):
        """The member that leads the others, by its own metrics; None while none does."""
        for member, process in enumerate(self.processes):
            if process is not None and "etcd_server_is_leader 1" in self.metrics(member):
                return member
        return None

    def metrics(self, member):
        try:
            with self.connect(member) as connection:
                connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")
        except OSError:
            return ""

    def connect(self, member):
        host, port = self.clients[member].split(":")
        connection = socket.create_connection((host, int(port)), timeout=1)
        if not self.tls:
            return connection
        context = ssl.create_default_context(cafile=self.tls["ca"])
        context.load_cert_chain(self.tls["cert"], self.tls["key"])
        return context.wrap_socket(connection, server_hostname="127.0.0.1")

    def kill(self, member):
        self.processes[member].kill()
        self.processes[member].wait()
        self.processes[member] = None

    def freeze(self, member):
        self.processes[member].send_signal(signal.SIGSTOP)

    def thaw(self, member):
        self.processes[member].send_signal(signal.SIGCONT)

    def stop(self):
        for member, process in enumerate(self.processes):
            if process is not None:
                self.kill(member)
