"""A TCP proxy that can stop passing bytes on, or break what is connected."""

import selectors
import socket
import threading

PIECE = 1 << 16


class Proxy:
    """Listens on a port of its own. Any thread."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.lock = threading.Lock()
        self.pairs = set()
        self.passing = threading.Event()
        self.passing.set()
        self.refusing = False
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def black_hole(self):
        """Connections stay, and new ones are taken, but no byte goes on."""
        self.passing.clear()

    def heal(self):
        self.refusing = False
        self.passing.set()

    def cut(self, refuse=False):
        """Resets all connections; new ones are reset too while it refuses."""
        self.refusing = refuse
        with self.lock:
            pairs, self.pairs = self.pairs, set()
        for pair in pairs:
            self.reset(pair)

    def close(self):
        self.listener.close()
        self.cut(refuse=True)
        self.passing.set()

    @staticmethod
    def reset(pair):
        for end in pair:
            try:
                # Lingering for no time makes close() send a reset.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refusing:
                self.reset((client,))
                continue
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        self.passing.wait()
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            self.reset((client,))
            return
        pair = (client, server)
        with self.lock:
            self.pairs.add(pair)
        other = {client: server, server: client}
        with selectors.DefaultSelector() as ready:
            try:
                for end in pair:
                    ready.register(end, selectors.EVENT_READ)
                while pair in self.pairs:
                    # One that was cut is closed already, and never becomes ready.
                    for key, _ in ready.select(timeout=0.5):
                        # What is not read waits in the kernel's buffers, as behind a link that is down.
                        self.passing.wait()
                        data = key.fileobj.recv(PIECE)
                        if not data:
                            raise ConnectionResetError
                        other[key.fileobj].sendall(data)
            except (OSError, ValueError, KeyError):
                pass
        with self.lock:
            self.pairs.discard(pair)
        self.reset(pair)
