"""Callers that send too much, too often or nonsense, and addresses that change: others go on being served."""

import socket
import struct
import subprocess
import threading
import time

import controllers
import scene
from cluster import COWHERD, MIB, wait_for

grpc = controllers.grpc

# What a caller can make the controller hold: its quota of buffers, and what comes of them.
MOST_MEMORY = 256 * MIB
# gRPC 1.51 does not hold back who resets calls as fast as it begins them (CVE-2023-44487): each costs some 15 KiB
# until the server has got to it.
RESETS = 20_000
MOST_OF_RESETS = 512 * MIB
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
END_HEADERS, END_STREAM = 4, 1
LIST = "/cowherd.v1.ControllerService/ListJobs"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field that no table knows. Both are short."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def headers(path, *more):
    """Of a gRPC call."""
    fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"any"),
              (b"te", b"trailers"), (b"content-type", b"application/grpc"), *more)
    return b"".join(literal(name, value) for name, value in fields)


class Callers(scene.Scene):
    def connect(self):
        """A connection on which HTTP/2 has begun."""
        server = self.controllers[0]
        connection = socket.create_connection((server.host, server.port), timeout=10)
        self.addCleanup(connection.close)
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        return connection

    def send(self, connection, data):
        """All of it, unless the other side has enough; what it says meanwhile is taken in."""

        def drain():
            try:
                while connection.recv(1 << 16):
                    pass
            except OSError:
                pass

        reader = threading.Thread(target=drain, daemon=True)
        reader.start()
        try:
            connection.sendall(data)
        except OSError:
            pass
        return reader

    def raw(self, method, channel, data, **more):
        """A call with these bytes; the code it ends with."""
        call = channel.unary_unary(f"/cowherd.v1.ControllerService/{method}")
        try:
            call(data, timeout=20, **more)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

    def memory(self):
        with open(f"/proc/{self.controllers[0].process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

    def while_others_work(self, harm, at_most=MOST_MEMORY):
        """Meanwhile another caller's jobs are made and end, and the controller keeps within its bounds."""
        controller = self.controllers[0]
        before, process = self.memory(), controller.process
        errors = []

        def caught():
            try:
                harm()
            except BaseException as error:  # told below
                errors.append(error)

        harmed = threading.Thread(target=caught)
        harmed.start()
        longest = 0.0
        while True:
            ended = not harmed.is_alive()
            begin = time.monotonic()
            job = self.submit(self.ranges("btrfs"), seconds=1)
            longest = max(longest, time.monotonic() - begin)
            self.await_success(job)
            if ended:
                break
        if errors:
            raise errors[0]
        print(f"  a job took {longest:.2f} s to be made, memory grew by {(self.memory() - before) >> 20} MiB", flush=True)
        self.assertLess(longest, 2)
        self.assertLess(self.memory() - before, at_most)
        self.assertIs(controller.process, process)
        self.assertIsNone(process.poll())

    def test_messages_that_are_huge(self):
        self.begin(("btrfs",))
        huge = bytes(64 * MIB)

        def harm():
            with grpc.insecure_channel(self.controllers[0].address, controllers.CHANNEL + [
                    ("grpc.max_send_message_length", -1)]) as channel:
                for _ in range(3):
                    self.assertEqual(self.raw("CreateJob", channel, huge), "RESOURCE_EXHAUSTED")
                # 64 KiB that would unpack to 64 MiB.
                self.assertEqual(self.raw("CreateJob", channel, huge, compression=grpc.Compression.Gzip), "UNIMPLEMENTED")
                self.assertEqual(
                    self.raw("ListJobs", channel, b"", metadata=[("x-huge", "x" * (64 << 10))]), "RESOURCE_EXHAUSTED")
            # What was refused may have ended the connection.
            alone = [*controllers.CHANNEL, ("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(self.controllers[0].address, alone) as channel:
                # A field that nobody knows is no error.
                self.assertEqual(self.raw("ListJobs", channel, b"\xfa\x3f\x04what"), "OK")
                # Groups of one deep within each other, and bytes that are no message: gRPC's word for both.
                for bad in (b"\xfb\x07" * 100_000, b"\xff" * 64):
                    self.assertEqual(self.raw("ListJobs", channel, bad), "UNIMPLEMENTED")

        self.while_others_work(harm)
        self.finish()

    def test_streams_without_end(self):
        self.begin(("btrfs",))

        def harm():
            # Begun and reset at once, again and again.
            block = headers(LIST)
            reset = b"".join(
                frame(HEADERS, END_HEADERS, 2 * number + 1, block) + frame(RESET, 0, 2 * number + 1, struct.pack(">I", 8))
                for number in range(RESETS))
            connection = self.connect()
            self.send(connection, reset)
            time.sleep(1)
            connection.close()
            # Begun and never ended: more than a connection may have.
            for _ in range(20):
                self.send(self.connect(), b"".join(
                    frame(HEADERS, END_HEADERS, 2 * number + 1, block) for number in range(500)))
            # Begun with half a message, which comes byte by byte, if at all.
            slow = [self.connect() for _ in range(100)]
            for connection in slow:
                self.send(connection, frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, 0, 1, b"\0\0\0\0\x10"))
            for _ in range(3):
                time.sleep(1)
                for connection in slow:
                    self.send(connection, frame(DATA, 0, 1, b"\x08"))
            # Connected, and silent.
            for _ in range(100):
                self.connect()

        self.while_others_work(harm, MOST_OF_RESETS)
        self.finish()

    def test_headers_that_are_odd(self):
        self.begin(("btrfs",))
        odd = (
            headers(LIST, (b"grpc-timeout", b"99999999999999999999S")),
            headers(LIST, (b"grpc-timeout", b"-1S")),
            headers(LIST, (b"x-odd-bin", b"!!not base64!!")),
            headers(LIST, (b"te", b"everything")),
            headers(LIST, (b"Upper-Case", b"x")),
            headers(LIST, (b"x", b"a\nb\0c")),
            headers("/no.such.Service/Method"),
            headers("no path"),
            literal(b":path", LIST.encode()),
            # An index that no table has, a size that is not there, a table size beyond all bounds.
            b"\xff\xff\xff\x0f",
            b"\0\x7f\xff\xff\xff\x0f",
            b"\x3f\xff\xff\xff\xff\x0f",
        )

        def harm():
            for block in odd:
                connection = self.connect()
                reader = self.send(connection, frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
                reader.join(0.2)
                connection.close()
            # Frames where none belongs, and no HTTP/2 at all.
            for junk in (frame(DATA, 0, 1, b"x" * 100), frame(HEADERS, 0, 0, b""), frame(99, 255, 7, b"x"), b"\xff" * 9,
                         b"GET / HTTP/1.1\r\n\r\n"):
                connection = self.connect()
                self.send(connection, junk).join(0.2)
                connection.close()

        self.while_others_work(harm)
        self.finish()

    def test_the_name_of_the_controller_moves(self):
        """To another machine, with the store; a watch that is on finds it there."""
        self.begin(("btrfs",))
        controller = self.controllers[0]
        slow = self.submit(self.scan(sets=[0], rate=MIB // 64))
        self.await_running(slow)

        class Watch:
            command = [str(COWHERD), "-o", "json", "job", "watch", "--controller", f"herd.test:{controller.port}",
                       "--allow_remote_plaintext", slow]

        hosts = self.resolve_as(Watch, f"{controller.host} herd.test\n")
        with open(self.directory / "watch.log", "w+b") as log:
            watch = subprocess.Popen(Watch.command, stdout=log, stderr=subprocess.STDOUT)
            self.addCleanup(watch.wait)
            self.addCleanup(watch.kill)
            wait_for("the watch is on", lambda: (self.directory / "watch.log").stat().st_size > 0)
            controller.kill()
            controller.host = f"127.63{controller.host[controller.host.index('.', 4):]}"
            hosts.write_text(f"{controller.host} herd.test\n")
            self.api.addresses = [f"{controller.host}:{controller.port}"]
            begin = time.monotonic()
            controller.start()
            size = log.seek(0, 2)
            wait_for("the watch goes on", lambda: b'"state"' in (self.directory / "watch.log").read_bytes()[size:])
            print(f"  the watch went on after {time.monotonic() - begin:.1f} s", flush=True)
            self.ask("CancelJob", slow)
            watch.wait(20)
            self.assertIn(b"CANCELLED", (self.directory / "watch.log").read_bytes().splitlines()[-1])
        self.finish()
