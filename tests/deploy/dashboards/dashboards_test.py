#!/usr/bin/python3
"""Every query of every dashboard has data, and every panel is drawn, after a run of real servers that a real Prometheus scraped.

Needs root, a build in bazel-bin, Debian's chromium and prometheus, and `npm install` in deploy/monitoring/page and here.
"""

import json
import os
import pathlib
import subprocess
import time
import unittest

import fleet

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = int(os.environ.get("COWHERD_FLEET_SECONDS", "60"))


def node(script, *arguments):
    done = subprocess.run(["node", HERE / script, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"{script}: {done.stderr}")
    return json.loads(done.stdout)


class DashboardsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fleet = fleet.Fleet()
        cls.fleet.setUp()
        cls.addClassCleanup(cls.fleet.doCleanups)
        cls.begun = time.time()
        cls.fleet.begin()
        fleet.Story(cls.fleet, SECONDS, pace="6m", mib=4).tell()
        cls.ended = time.time()
        cls.page = cls.fleet.start_page()
        cls.span = ("--from", int(cls.begun * 1000), "--to", int(cls.ended * 1000))

    def test_every_query_has_data(self):
        rows = node("queries.mjs", self.fleet.prometheus, int(self.begun * 1000), int(self.ended * 1000))
        self.assertGreater(len(rows), 100)
        empty = [f"{row['dashboard']}: {row['panel']}: {row['expr']}: {row.get('error', 'nothing')}" for row in rows if row["series"] == 0]
        self.assertEqual(empty, [])

    def test_every_panel_is_drawn(self):
        boards = node("draw.mjs", self.page, *self.span)
        self.assertEqual(len(boards), 5)
        for board in boards:
            self.assertEqual(board["errors"], [], board["uid"])
            titles = [panel["title"] for panel in board["panels"]]
            self.assertEqual(len(titles), len(set(titles)), f"{board['uid']}: a panel stands twice: {titles}")
            for panel in board["panels"]:
                with self.subTest(dashboard=board["uid"], panel=panel["title"]):
                    self.assertEqual(panel["state"], "drawn", panel["text"])
                    self.assertFalse(panel["cut"], f"the legend is cut off: {panel['text']}")
                    if panel["kind"] in ("timeseries", "heatmap"):
                        self.assertGreater(panel["coloured"], 100)
                    else:
                        self.assertNotEqual(panel["text"].replace(panel["title"], "", 1).strip(), "")

    def test_variables_choose(self):
        def drawn(query):
            (board,) = node("draw.mjs", self.page, *self.span, "--only", "cowherd-node", "--query", query)
            return board, {panel["title"]: panel for panel in board["panels"]}

        board, panels = drawn("")
        self.assertEqual(board["variables"], {"cluster": ["demo"], "node": [f"storage-{n}" for n in (1, 2, 3, 4)], "volume": ["backup", "vm"]})
        self.assertIn("storage-1 vm", panels["Free space"]["text"])
        _, panels = drawn("var-node=storage-3&var-node=storage-2&var-volume=backup")
        for name, there in {"storage-1 vm": False, "storage-2 backup": True, "storage-3 backup": True, "storage-3 vm": False}.items():
            self.assertEqual(name in panels["Free space"]["text"], there, name)
        # What is empty is told as empty: the other tests could fail.
        _, panels = drawn("var-cluster=elsewhere")
        self.assertEqual({panel["state"] for panel in panels.values() if panel["title"] not in ("Refusals",)}, {"empty"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
