#!/usr/bin/python3
"""The Debian packages: the same bytes for the same commit, what they hold, and what they do when installed, upgraded and removed.

Needs a build in bazel-bin and dpkg-dev.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
VERSION = re.search(r'kVersion\[\] = "(.*)"', (REPOSITORY / "server/base/version.h").read_text()).group(1)
PACKAGES = ("cowherd", "cowherd-controller", "cowherd-node")


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **more).stdout


class DebianTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.top = pathlib.Path(directory.name)
        for name in ("first", "second"):
            run(REPOSITORY / "deploy/debian/build.sh", cls.top / name)
        cls.files = {path.name.split("_")[0]: path for path in (cls.top / "first").glob("*.deb")}

    def test_the_same_commit_gives_the_same_bytes(self):
        self.assertEqual(set(self.files), set(PACKAGES))
        for path in self.files.values():
            self.assertEqual(path.read_bytes(), (self.top / "second" / path.name).read_bytes(), path.name)

    def test_what_they_hold(self):
        for name, path in self.files.items():
            self.assertEqual(run("dpkg-deb", "--field", path, "Version").strip(), VERSION)
            # All that the program links with is named.
            self.assertRegex(run("dpkg-deb", "--field", path, "Depends"), r"libgrpc\S+ .*libc6 |libc6 ")
            root = self.top / "root" / name
            root.mkdir(parents=True)
            run("dpkg-deb", "--extract", path, root)
            held = {file.relative_to(root).as_posix() for file in root.rglob("*") if not file.is_dir()}
            expected = {f"usr/bin/{name}", f"usr/share/doc/{name}/copyright"}
            config = f"etc/cowherd/{name.removeprefix('cowherd-')}.ini"
            if name != "cowherd":
                expected |= {config, f"lib/systemd/system/{name}.service"}
            if name == "cowherd-controller":
                expected.add("usr/lib/sysusers.d/cowherd-controller.conf")
            self.assertEqual(held, expected)
            self.assertIn(VERSION, run(root / "usr/bin" / name, "--version"))
            # What a person has written there stays.
            control = self.top / "control" / name
            control.parent.mkdir(exist_ok=True)
            run("dpkg-deb", "--control", path, control)
            conffiles = (control / "conffiles").read_text() if (control / "conffiles").exists() else ""
            self.assertEqual(conffiles, "" if name == "cowherd" else f"/{config}\n")

    def test_services_are_restarted_by_an_upgrade_and_stopped_by_a_removal(self):
        # A systemctl that tells what it is asked, where a system that was booted by systemd has one.
        tools = self.top / "tools"
        tools.mkdir()
        for tool in ("systemctl", "systemd-sysusers"):
            (tools / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >>"$ASKED"\n')
            (tools / tool).chmod(0o755)

        def asked(name, script, *words):
            control = self.top / f"scripts-{name}"
            if not control.exists():
                run("dpkg-deb", "--control", self.files[name], control)
            text = (control / script).read_text().replace("/run/systemd/system", str(tools))
            log = self.top / "asked"
            log.write_text("")
            environment = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}", ASKED=str(log))
            run("sh", "-c", text, script, *words, env=environment)
            return log.read_text().splitlines()

        for name in PACKAGES[1:]:
            begin = ["systemd-sysusers ", "systemctl daemon-reload"]
            self.assertEqual(asked(name, "postinst", "configure", ""), begin, "installed is not started")
            self.assertEqual(asked(name, "postinst", "configure", "0.0.9"), [*begin, f"systemctl try-restart {name}.service"])
            self.assertEqual(asked(name, "prerm", "upgrade", "0.2"), [])
            self.assertEqual(asked(name, "prerm", "remove"), [f"systemctl stop {name}.service"])


if __name__ == "__main__":
    unittest.main()
