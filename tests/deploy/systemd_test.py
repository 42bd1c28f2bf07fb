#!/usr/bin/python3
"""The systemd units: well-formed, hardened, agreed with the manifests, and no tighter than what the servers need.

Needs root, a build in bazel-bin, systemd's tools, python3-seccomp, and npm install in this folder.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import confine
import manifests

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/integration"))
from cluster import CONTROLLER, MIB, NODE, ClusterTest, checksums, run, write_random  # noqa: E402

PROGRAMS = {"node": NODE, "controller": CONTROLLER}
UNITS = {component: REPOSITORY / f"deploy/systemd/cowherd-{component}.service" for component in PROGRAMS}
# systemd's exposure level in tenths: lower is tighter. What is left of the controller's is the network.
EXPOSURE = {"node": 29, "controller": 12}


def analyze(*words):
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True)


class UnitTest(ClusterTest):
    def test_well_formed(self):
        # Beside systemd's own, as they are once installed.
        root = self.directory / "root"
        shutil.copytree("/lib/systemd/system", root / "lib/systemd/system", symlinks=True)
        (root / "usr/bin").mkdir(parents=True)
        for component, unit in UNITS.items():
            shutil.copy(unit, root / "lib/systemd/system")
            shutil.copy(PROGRAMS[component], root / "usr/bin")
            done = analyze("verify", "--man=no", "--recursive-errors=yes", f"--root={root}", root / "lib/systemd/system" / unit.name)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), component)

    def test_hardened(self):
        for component, unit in UNITS.items():
            done = analyze("security", "--offline=true", f"--threshold={EXPOSURE[component]}", "--no-pager", unit)
            self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr)
            tighter = analyze("security", "--offline=true", f"--threshold={EXPOSURE[component] - 1}", "--no-pager", unit)
            self.assertNotEqual(tighter.returncode, 0, f"{component} may be held to a lower level now")

    def test_rights_are_those_of_the_pods(self):
        documents = manifests.overlay("single")
        for component, unit in UNITS.items():
            context = manifests.workload(documents, component)["containers"][0]["securityContext"]
            self.assertEqual(confine.capabilities(unit), context["capabilities"].get("add", []), component)
            self.assertEqual(confine.settings(unit)["AmbientCapabilities"], [""])
        self.assertNotIn("User", confine.settings(UNITS["node"]))
        user = (REPOSITORY / "deploy/systemd/cowherd-controller.sysusers").read_text().split()[1]
        self.assertEqual(confine.settings(UNITS["controller"])["User"], [user])

    def test_flags_exist_and_the_end_is_waited_for(self):
        for component, unit in UNITS.items():
            said = run(PROGRAMS[component], "--help").stdout.decode()
            flags = set(re.findall(r"^\s+(?:-\w,)?--([a-z_]+)", said, re.M))
            text = (REPOSITORY / f"deploy/systemd/{component}.ini").read_text()
            used = re.findall(r"^(?:# )?([a-z_]+)=", text, re.M)
            self.assertTrue(used)
            self.assertLessEqual(set(used), flags)
            service = confine.settings(unit)
            self.assertEqual(service["ExecStart"], [f"/usr/bin/cowherd-{component} --config /etc/cowherd/{component}.ini"])
            (grace,) = re.findall(r"--grace_seconds FLOAT:.*?=(\d+) ", said)
            self.assertGreater(int(service["TimeoutStopSec"][0]), int(grace) + 5)
            # State lies where systemd makes room for it.
            path = re.search(r'^(?:store|state_dir)="(.*)"$', text, re.M).group(1)
            self.assertEqual(str(pathlib.Path(path).parent), f"/var/lib/{service['StateDirectory'][0]}")

    def confined(self, component, *flags):
        program = self.directory / f"cowherd-{component}"
        if not program.exists():
            shutil.copy(PROGRAMS[component], program)
        server = self.server(program, *flags)
        server.command = ["/usr/bin/python3", "-B", confine.__file__, str(UNITS[component]), *server.command]
        return server

    def test_servers_work_as_the_units_confine_them(self):
        os.chmod(self.directory, 0o711)
        store = self.directory / "store"
        store.mkdir(mode=0o700)
        os.chown(store, 65532, 65532)
        for kind in ("btrfs", "xfs"):
            with self.subTest(kind=kind):
                filesystem = self.filesystem(kind, 512)
                private = filesystem.path / "private"
                private.mkdir()
                write_random(private / "a", 16 * MIB, kind)
                (private / "b").write_bytes((private / "a").read_bytes())
                for path in (private, private / "a", private / "b"):
                    os.chown(path, 12345, 12345)
                    os.chmod(path, 0o700 if path == private else 0o400)
                before, free = checksums(filesystem.path), filesystem.free()
                state = self.directory / f"state-{kind}"
                state.mkdir(mode=0o700)
                node = self.confined("node", "--name=one", f"--root=data={filesystem.path}", f"--state_dir={state}/node").start()
                controller = self.confined(
                    "controller", f"--store={store}/{kind}.db", "--probe_interval=0.5s", f"--node=one={node.address}").start()
                self.cowherd("job", "create", "--controller", controller.address, "--all", "--wait")
                self.assertGreaterEqual(filesystem.free() - free, 15 * MIB)
                self.assertEqual(checksums(filesystem.path), before)
                # The limits are on: of the capabilities named, and a filter, and no way to more.
                status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
                wanted = sum(1 << bit for name, bit in (("DAC_READ_SEARCH", 2), ("SYS_ADMIN", 21)) if name in confine.capabilities(UNITS["node"]))
                self.assertEqual(int(re.search(r"CapEff:\s+(\w+)", status).group(1), 16), wanted)
                self.assertRegex(status, r"NoNewPrivs:\s+1\nSeccomp:\s+2")
                self.assertEqual((controller.stop(), node.stop()), (0, 0))

    def test_a_call_that_the_filter_does_not_let_through_kills(self):
        unit = self.directory / "tight.service"
        unit.write_text(UNITS["node"].read_text().replace(" open_by_handle_at", ""))
        self.assertIn("open_by_handle_at", confine.allowed(UNITS["node"]))
        self.assertNotIn("open_by_handle_at", confine.allowed(unit))
        call = "import ctypes; ctypes.CDLL(None).open_by_handle_at(-1, None, 0)"
        for path, code in ((UNITS["node"], 0), (unit, -31)):
            done = subprocess.run(["/usr/bin/python3", "-B", confine.__file__, path, "/usr/bin/python3", "-c", call], capture_output=True)
            self.assertEqual(done.returncode, code, done.stderr)


if __name__ == "__main__":
    unittest.main()
