"""An etcd cluster on loopback for the tests: Debian's etcd-server, free ports, data in a directory of the test's."""

import pathlib
import signal
import socket
import ssl
import subprocess

from cluster import wait_for


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Etcd:
    def __init__(self, directory, members=3, tls=None):
        """With `tls`, files for "cert", "key" and "ca", clients must show a certificate of that authority."""
        self.directory = pathlib.Path(directory)
        self.tls = tls
        ports = free_ports(2 * members)
        self.clients, self.peers = ports[:members], ports[members:]
        self.processes = [None] * members

    def store(self, prefix="test"):
        """As --store takes it."""
        return "etcd://" + ",".join(f"127.0.0.1:{port}" for port in self.clients) + f"/{prefix}"

    def start(self):
        for member in range(len(self.processes)):
            self.start_member(member)
        wait_for("etcd has a leader", lambda: self.leader() is not None)
        return self

    def start_member(self, member):
        client = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.clients[member]}"
        peer = f"http://127.0.0.1:{self.peers[member]}"
        cluster = ",".join(f"m{i}=http://127.0.0.1:{port}" for i, port in enumerate(self.peers))
        with open(self.directory / f"etcd{member}.log", "ab") as log:
            self.processes[member] = subprocess.Popen(
                ["etcd", "--name", f"m{member}", "--data-dir", str(self.directory / f"etcd{member}"),
                 "--listen-client-urls", client, "--advertise-client-urls", client,
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", cluster, "--logger", "zap", *self.tls_flags()],
                stdout=log, stderr=log,
            )

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
        connection = socket.create_connection(("127.0.0.1", self.clients[member]), timeout=1)
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
