#!/usr/bin/python3
"""One node and the command line, on btrfs and XFS."""

import os
import statistics
import subprocess
import sys
import time
import unittest

import cluster
from cluster import COWHERD, MIB, NODE, checksums, times, write_random


class NodeTest(cluster.ClusterTest):
    def extents(self, node, path):
        return self.cowherd("-o", "json", "extents", "--node", node.address, path).get("extents", [])

    def test_dedupe_64_mib_by_one_call(self):
        for kind in ("btrfs", "xfs"):
            with self.subTest(kind):
                filesystem = self.filesystem(kind)
                one, two = filesystem.path / "one", filesystem.path / "two"
                write_random(one, 64 * MIB, 1)
                write_random(two, 64 * MIB, 1)
                node = self.node(kind, f"data={filesystem.path}").start()
                before, stamps, free = checksums(filesystem.path), times(two), filesystem.free()
                answer = self.cowherd(
                    "-o", "json", "dedupe", "--measure", "--node", node.address, "--length", "64m", one, "0", two, "0"
                )
                self.assertEqual(answer["results"][0]["outcome"], "DEDUPED")
                self.assertEqual(int(answer["bytes_accepted"]), 64 * MIB)
                self.assertEqual(int(answer["bytes_shared"]), 64 * MIB)
                self.assertTrue(all(extent["shared"] for extent in self.extents(node, two)))
                self.assertEqual(checksums(filesystem.path), before)
                self.assertEqual(times(two), stamps)
                self.assertGreater(filesystem.free() - free, 60 * MIB)
                _, samples = node.metrics()
                self.assertEqual(samples['cowherd_node_dedupe_accepted_bytes_total{volume="data"}'], 64 * MIB)
                self.assertEqual(
                    samples['grpc_server_handled_total{grpc_code="OK",grpc_method="DedupeRanges",'
                            'grpc_service="cowherd.v1.NodeService",grpc_type="unary"}'], 1)

    def test_a_differing_byte(self):
        for kind in ("btrfs", "xfs"):
            with self.subTest(kind):
                filesystem = self.filesystem(kind, 512)
                one, two = filesystem.path / "one", filesystem.path / "two"
                write_random(one, MIB, 1)
                write_random(two, MIB, 1)
                with open(two, "r+b") as file:
                    file.seek(MIB - 1)
                    last = file.read(1)
                    file.seek(MIB - 1)
                    file.write(bytes([last[0] ^ 1]))
                filesystem.sync()
                node = self.node(kind, f"data={filesystem.path}").start()
                answer = self.cowherd(
                    "-o", "json", "dedupe", "--node", node.address, "--length", "1m", one, "0", two, "0", code=1
                )
                self.assertEqual(answer["results"][0]["outcome"], "DATA_DIFFERS")
                self.assertEqual(int(answer["bytes_accepted"]), 0)

    def test_errors_keep_their_identity(self):
        filesystem, other = self.filesystem("btrfs", 512), self.filesystem("xfs", 512)
        write_random(filesystem.path / "file", 64 << 10, 1)
        write_random(filesystem.path / "same", 64 << 10, 1)
        write_random(other.path / "file", 64 << 10, 1)
        (filesystem.path / "directory").mkdir()
        os.mkfifo(filesystem.path / "fifo")
        os.symlink("file", filesystem.path / "link")
        write_random(filesystem.path / "immutable", 64 << 10, 1)
        cluster.run("chattr", "+i", filesystem.path / "immutable")
        self.addCleanup(cluster.run, "chattr", "-i", filesystem.path / "immutable")
        node = self.node("n", f"data={filesystem.path}", f"other={other.path}").start()
        source = filesystem.path / "file"

        def dedupe(destination, offset="0", length="64k", source=source):
            return self.cowherd("-o", "json", "dedupe", "--node", node.address, "--length", length,
                                source, "0", destination, offset, code=1)["results"][0]

        for destination, name, number in (
            (other.path / "file", "EXDEV", 18),
            (filesystem.path / "directory", "EISDIR", 21),
            (filesystem.path / "link", "ELOOP", 40),
            (filesystem.path / "immutable", "EPERM", 1),
            (filesystem.path / "missing", "ENOENT", 2),
        ):
            with self.subTest(name):
                error = dedupe(destination)["error"]
                self.assertEqual((error["errno_name"], error["errno_number"]), (name, number))
        self.assertEqual(dedupe(filesystem.path / "same", offset="512", length="4k")["error"]["errno_name"], "EINVAL")
        self.assertEqual(dedupe(filesystem.path / "fifo")["error"]["reason"], "NOT_REGULAR")
        # Nothing tried: the call's own status, with field and errno.
        text = self.cowherd("dedupe", "--node", node.address, "--length", "1m", source, "0",
                            filesystem.path / "same", "0", code=1)
        self.assertIn("EINVAL", text)
        self.assertIn("length", text)
        text = self.cowherd("dedupe", "--node", node.address, "--length", "4k", "/etc/passwd", "0", source, "0", code=1)
        self.assertIn("OUTSIDE_ROOTS", text)
        self.assertIn("source.path", text)

    def test_paths_are_bytes(self):
        filesystem = self.filesystem("btrfs", 512)
        names = [os.fsencode(filesystem.path) + name for name in (b"/one\xff\n\"", b"/two\xfe\x1b[2J")]
        for name in names:
            write_random(name, 64 << 10, 1)
        node = self.node("n", f"data={filesystem.path}", flags=["--log_level=debug"]).start()
        found = self.cowherd("find", "--node", node.address, "--root", "data")
        self.assertNotIn("\x1b", found)
        self.assertIn("64 KiB", found)
        self.cowherd("dedupe", "--node", node.address, "--length", "64k", names[0], "0", names[1], "0")
        self.assertTrue(any("source_base64" in line for line in node.log_lines()))

    def test_roots_come_and_go(self):
        filesystem = self.filesystem("btrfs", 512)
        write_random(filesystem.path / "one", 64 << 10, 1)
        local = self.directory / "absent"
        node = self.node("n", f"data={filesystem.path}", f"absent={local}").start()

        def roots():
            return {r["name"]: r for r in self.cowherd("-o", "json", "node", "show", "--node", node.address)["roots"]}

        first = roots()
        self.assertEqual(first["data"]["filesystem"], "btrfs")
        self.assertTrue(first["data"]["dedupe_supported"])
        self.assertEqual(first["absent"]["error"]["reason"], "ROOT_ABSENT")
        self.extents(node, filesystem.path / "one")
        filesystem.unmount()  # fails if the idle node held a descriptor
        self.assertEqual(roots()["data"]["error"]["reason"], "ROOT_ABSENT")
        filesystem.make()
        filesystem.mount()
        write_random(filesystem.path / "two", 64 << 10, 1)
        self.assertNotEqual(roots()["data"]["uuid"], first["data"]["uuid"])
        self.assertEqual(len(self.extents(node, filesystem.path / "two")), 1)
        local.mkdir()
        self.assertNotIn("ROOT_ABSENT", str(roots()["absent"]))

    def test_host_path_differs_from_local_path(self):
        filesystem = self.filesystem("btrfs", 512)
        write_random(filesystem.path / "one", 64 << 10, 1)
        write_random(filesystem.path / "two", 64 << 10, 1)
        node = self.node("n", f"data=/on/the/host:{filesystem.path}").start()
        self.cowherd("dedupe", "--node", node.address, "--length", "64k", "/on/the/host/one", "0", "/on/the/host/two", "0")
        self.cowherd("extents", "--node", node.address, filesystem.path / "one", code=1)

    def test_exit_codes_and_stopping(self):
        filesystem = self.filesystem("btrfs", 512)
        node = self.node("n", f"data={filesystem.path}").start()
        self.cowherd("dedupe", "--length", "nonsense", "a", "0", "b", "0", code=2)
        self.cowherd("node", "show", "--node", "127.0.0.1:1", "--timeout", "2s", code=3)
        self.assertEqual(node.stop(), 0)
        bad = subprocess.run([NODE, "--root=nonsense"], capture_output=True)
        self.assertEqual(bad.returncode, 2)
        self.assertIn(b"--root", bad.stderr)
        bad = subprocess.run([NODE, f"--root=d={filesystem.path}", "--state_dir=/dev/null"], capture_output=True)
        self.assertEqual(bad.returncode, 2)
        self.assertIn(b"--state_dir", bad.stderr)
        remote = subprocess.run([NODE, f"--root=d={filesystem.path}", "--listen=0.0.0.0:0"], capture_output=True)
        self.assertEqual(remote.returncode, 2)
        self.assertIn(b"--tls_cert", remote.stderr)

    def test_deadline_says_what_was_done(self):
        filesystem = self.filesystem("xfs", 6 * 1024)
        one, two = filesystem.path / "one", filesystem.path / "two"
        for path in (one, two):
            with open(path, "wb") as file:
                file.truncate(1 << 40)
        node = self.node("n", f"data={filesystem.path}").start()
        begin = time.monotonic()
        answer = self.cowherd("-o", "json", "--timeout", "3s", "dedupe", "--node", node.address,
                              "--length", "1024g", one, "0", two, "0", code=1)
        self.assertLess(time.monotonic() - begin, 10)
        answers = answer if isinstance(answer, list) else [answer]
        self.assertEqual(answers[-1]["results"][0]["outcome"], "STOPPED")

    def test_command_line_starts_fast(self):
        def seconds():
            begin = time.monotonic()
            subprocess.run([COWHERD, "--version"], check=True, capture_output=True)
            return time.monotonic() - begin

        self.assertLess(statistics.median(seconds() for _ in range(21)), 0.030)


class ReflectionTest(cluster.ClusterTest):
    """A client that knows nothing but the address, as grpcurl does."""

    def test_calls_by_reflection(self):
        import grpc
        from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

        protos = "/usr/share/grpc-proto"
        cluster.run("protoc", f"-I{protos}", f"--python_out={self.directory}", "grpc/reflection/v1alpha/reflection.proto")
        # Not imported as a package: "grpc" is taken.
        sys.path.insert(0, str(self.directory / "grpc/reflection/v1alpha"))
        import reflection_pb2

        filesystem = self.filesystem("btrfs", 512)
        method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        quiet = self.node("quiet", f"data={filesystem.path}").start()
        node = self.node("seen", f"data={filesystem.path}", flags=["--reflection"]).start()

        def ask(address, **request):
            with grpc.insecure_channel(address) as channel:
                call = channel.stream_stream(
                    method,
                    request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                    response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
                )
                return next(call(iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=10))

        with self.assertRaises(grpc.RpcError) as refused:
            ask(quiet.address, list_services="")
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

        services = [s.name for s in ask(node.address, list_services="").list_services_response.service]
        self.assertIn("cowherd.v1.NodeService", services)
        self.assertIn("grpc.health.v1.Health", services)
        files = {}

        def load(**request):
            for blob in ask(node.address, **request).file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(blob)
                if file.name not in files:
                    files[file.name] = file
                    for dependency in file.dependency:
                        load(file_by_filename=dependency)

        load(file_containing_symbol="cowherd.v1.NodeService")
        pool = descriptor_pool.DescriptorPool()

        def add(name):
            if name in files:
                file = files.pop(name)
                for dependency in file.dependency:
                    add(dependency)
                pool.Add(file)

        for name in list(files):
            add(name)
        factory = message_factory.MessageFactory(pool)
        get_node = pool.FindServiceByName("cowherd.v1.NodeService").methods_by_name["GetNode"]
        with grpc.insecure_channel(node.address) as channel:
            call = channel.unary_unary(
                "/cowherd.v1.NodeService/GetNode",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=factory.GetPrototype(get_node.output_type).FromString,
            )
            answer = json_format.MessageToDict(call(factory.GetPrototype(get_node.input_type)(), timeout=10))
        self.assertEqual(answer["name"], "seen")
        self.assertEqual(answer["roots"][0]["filesystem"], "btrfs")


if __name__ == "__main__":
    unittest.main(verbosity=2)
