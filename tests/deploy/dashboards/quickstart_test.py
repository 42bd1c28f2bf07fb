#!/usr/bin/python3
"""deploy/quickstart.sh --monitoring: the page that it serves draws the demo, and Ctrl-C leaves nothing behind."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import unittest
import urllib.request

from dashboards_test import node
from fleet import REPOSITORY, wait_for


def loop_devices(directory):
    """Those of files below it; other tests have their own."""
    listed = subprocess.run(["losetup", "--noheadings", "--output", "BACK-FILE"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if line.startswith(f"{directory}/")]


class QuickstartTest(unittest.TestCase):
    def test_the_page_draws_until_ctrl_c(self):
        temporary = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("COWHERD_TEST_DIR", "/var/tmp")))
        self.addCleanup(subprocess.run, ["rm", "-rf", "--one-file-system", temporary])
        # As in a terminal, Ctrl-C reaches the whole group.
        process = subprocess.Popen([REPOSITORY / "deploy/quickstart.sh", "--monitoring"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   start_new_session=True, env={**os.environ, "TMPDIR": str(temporary)})  # fmt: skip
        said = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout))
        reader.start()
        # In the opposite order: what still runs is told to clean up, and what it says is read to the end.
        self.addCleanup(process.stdout.close)
        self.addCleanup(reader.join)
        self.addCleanup(process.wait)
        self.addCleanup(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGINT))

        def found(pattern):
            self.assertIsNone(process.poll(), "".join(said))
            return re.search(pattern, "".join(said), re.M)

        page = wait_for("the page's address", lambda: found(r"^dashboards: (http://127[.]0[.]0[.]1:\d+)/d/cowherd-overview"), 900).group(1)
        prometheus = found(r"^Prometheus: (http://127[.]0[.]0[.]1:\d+)").group(1)
        with urllib.request.urlopen(f"{prometheus}/-/ready", timeout=10) as answer:
            self.assertEqual(answer.status, 200)

        def overview():
            (board,) = node("draw.mjs", page, "--from", "now-1m", "--only", "cowherd-overview")
            self.assertEqual(board["errors"], [])
            panels = {panel["title"]: panel for panel in board["panels"]}
            # Until the node and the controller have been asked a few times, the alert for those that do not know one another is pending.
            known = "demo-node" in panels["Accepted by node"]["text"] and "all is well" in panels["Alerts"]["text"]
            return panels if known else None

        panels = wait_for("Prometheus knows the node, and no alert is pending", overview, 60)
        self.assertEqual({title for title, panel in panels.items() if panel["state"] != "drawn"}, {"Alerts"})
        self.assertGreater(panels["Accepted by node"]["coloured"], 100)
        # 320 MiB of the first job, and those of what went on since.
        self.assertRegex(panels["Space won in all"]["text"], r"[3-9]\d\d(\.\d+)?\s*MiB|GiB")
        self.assertEqual(panels["Nodes up"]["text"].split()[-1], "1")

        self.assertEqual(len(loop_devices(temporary)), 1)
        os.killpg(process.pid, signal.SIGINT)
        self.assertEqual(process.wait(60), 0, "".join(said))
        wait_for("the loop device is gone", lambda: loop_devices(temporary) == [])
        self.assertEqual(list(temporary.iterdir()), [])
        with self.assertRaises(OSError):
            urllib.request.urlopen(page, timeout=5)

    def test_flags(self):
        done = subprocess.run([REPOSITORY / "deploy/quickstart.sh", "--help"], capture_output=True, text=True, check=True)
        self.assertIn("deploy/quickstart.sh --monitoring", done.stdout)
        done = subprocess.run([REPOSITORY / "deploy/quickstart.sh", "--monitor"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (2, ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
