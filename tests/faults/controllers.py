"""The API of the controllers, each call recorded. gRPC straight, for the command line is too slow for a storm."""

import importlib
import os
import subprocess
import sys
import threading
import time

# Processes are started while calls are under way; they use no gRPC of ours.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
import grpc

import history

CHANNEL = [("grpc.min_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300),
           ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.enable_http_proxy", 0)]


class Failed(Exception):
    """A call was answered with an error, or not at all."""

    def __init__(self, call, error, protos):
        self.code = error.code().name
        self.reason = ""
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self.reason = protos.reason(value)
        super().__init__(f"{call}: {self.code} {self.reason} {error.details()}")


class Protos:
    """The modules that protoc makes of proto/cowherd/v1, in a directory of one's own."""

    def __init__(self, directory, proto):
        names = [str(path.relative_to(proto)) for path in sorted((proto / "cowherd/v1").glob("*.proto"))]
        subprocess.run(["protoc", f"-I{proto}", f"--python_out={directory}", *names], check=True)
        sys.path.insert(0, str(directory))
        for name in ("controller", "node", "types", "errors"):
            setattr(self, name, importlib.import_module(f"cowherd.v1.{name}_pb2"))
        self.messages = importlib.import_module("google.protobuf.message_factory").MessageFactory()

    def reason(self, details):
        """Of the google.rpc.Status in the metadata: field 3 holds Anys, whose field 2 is the ErrorDetail."""
        any_bytes = self.field(details, 3)
        return self.errors.ErrorDetail.FromString(self.field(any_bytes, 2)).reason if any_bytes else ""

    @staticmethod
    def field(data, wanted):
        """The first length-delimited field of that number."""
        at = 0

        def varint():
            nonlocal at
            value, shift = 0, 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        while at < len(data):
            key = varint()
            if key & 7 == 0:
                varint()
                continue
            length = varint()
            if key >> 3 == wanted:
                return data[at : at + length]
            at += length
        return b""


class Controllers:
    """One or several controllers behind a list of addresses. Any thread."""

    def __init__(self, protos, recorded, addresses):
        self.protos = protos
        self.recorded = recorded
        self.addresses = list(addresses)
        self.lock = threading.Lock()
        self.channels = {}
        self.first = 0

    def close(self):
        for channel in self.channels.values():
            channel.close()

    def channel(self, address):
        with self.lock:
            if address not in self.channels:
                self.channels[address] = grpc.insecure_channel(address, CHANNEL)
            return self.channels[address]

    def once(self, method, request, timeout=4.0, address=None):
        """One call to one controller."""
        address = address or self.addresses[self.first]
        service, output = next(
            (service.full_name, service.methods_by_name[method].output_type)
            for service in self.protos.controller.DESCRIPTOR.services_by_name.values() if method in service.methods_by_name)
        answer_class = self.protos.messages.GetPrototype(output)
        call = self.channel(address).unary_unary(
            f"/{service}/{method}", type(request).SerializeToString, answer_class.FromString
        )
        start = time.time()
        said = self.describe(request)
        try:
            answer = call(request, timeout=timeout)
        except grpc.RpcError as error:
            failed = Failed(method, error, self.protos)
            self.recorded.record(method, start, address, said, code=failed.code, reason=failed.reason)
            raise failed from None
        jobs = [history.plain(answer)] if output.name == "Job" else []
        self.recorded.record(method, start, address, said, jobs)
        return answer

    def call(self, method, request, seconds=30.0):
        """The answer, repeated over the controllers while they are away; all these calls may be repeated."""
        end = time.monotonic() + seconds
        while True:
            first = self.first
            try:
                return self.once(method, request)
            except Failed as failed:
                away = failed.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN") or failed.reason in (
                    "NOT_LEADER", "STORE_FULL", "STALE_EPOCH")
                # gRPC's own word: while a server's buffers are full it ends any of its calls.
                full = failed.code == "RESOURCE_EXHAUSTED" and not failed.reason
                if not (away or full) or time.monotonic() > end:
                    raise
                self.first = (first + 1) % len(self.addresses)
                time.sleep(0.1)

    def watch(self, job_id, timeout=60.0):
        """Follows a job on one controller until the stream ends; the jobs seen."""
        address = self.addresses[self.first]
        request = self.protos.controller.WatchJobRequest(id=job_id)
        call = self.channel(address).unary_stream(
            "/cowherd.v1.ControllerService/WatchJob", type(request).SerializeToString, self.protos.controller.Job.FromString
        )
        start = time.time()
        seen, code, reason = [], "OK", ""
        try:
            for job in call(request, timeout=timeout):
                seen.append(history.plain(job))
        except grpc.RpcError as error:
            failed = Failed("WatchJob", error, self.protos)
            code, reason = failed.code, failed.reason
        self.recorded.record("WatchJob", start, address, self.describe(request), seen, code, reason)
        return seen

    @staticmethod
    def describe(request):
        said = {name: getattr(request, name) for name in ("id", "request_id", "name", "node") if hasattr(request, name)}
        if hasattr(request, "spec"):
            # Of a schedule: its jobs'.
            spec = getattr(request.spec, "job", request.spec)
            said["spec"] = spec.SerializeToString(deterministic=True).hex()
        return said
