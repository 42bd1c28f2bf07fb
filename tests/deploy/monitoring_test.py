#!/usr/bin/python3
"""Rules, runbooks and dashboards: what they say is so, and every metric that they name is one that the servers export.

Needs promtool (Debian's prometheus) and a build in bazel-bin.
"""

import json
import pathlib
import re
import subprocess
import sys
import unittest

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/integration"))
from cluster import ClusterTest, run, wait_for  # noqa: E402

MONITORING = REPOSITORY / "deploy/monitoring"
RULES = sorted(MONITORING.glob("rules/*.yaml"))
DASHBOARDS = sorted(MONITORING.glob("dashboards/*.json"))
METRIC = re.compile(r"\b(?:cowherd|grpc_server|process)_[a-z0-9_]+\b")
RECORDED = re.compile(r"\b[a-z]+:[a-z0-9_]+:[a-z0-9_]+\b")


def rules():
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def queries(dashboard):
    board = json.loads(dashboard.read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [variable["query"] for variable in board["templating"]["list"]]
    return found + [annotation["expr"] for annotation in board["annotations"]["list"]]


class TextTest(unittest.TestCase):
    def promtool(self, *words):
        done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_rules_are_rules(self):
        self.promtool("check", "rules", *RULES)

    def test_alerts_fire_and_do_not_fire(self):
        self.promtool("test", "rules", REPOSITORY / "tests/deploy/rules/alerts_test.yaml")
        tests = yaml.safe_load((REPOSITORY / "tests/deploy/rules/alerts_test.yaml").read_text())["tests"]
        seen = {}
        for test in tests:
            for case in test["alert_rule_test"]:
                alerts = seen.setdefault(case["alertname"], set())
                # Other series of the same test must not fire, which counts as well as another moment.
                alerts |= {"fires"} if case.get("exp_alerts") else {"not"}
                if len(test["input_series"]) > len(case.get("exp_alerts", [])):
                    alerts |= {"not"}
        alerts = {rule["alert"] for rule in rules() if "alert" in rule}
        self.assertEqual({name for name, how in seen.items() if how == {"fires", "not"}}, alerts)

    def test_every_alert_has_its_runbook(self):
        alerts = {rule["alert"] for rule in rules() if "alert" in rule}
        self.assertEqual({path.stem for path in MONITORING.glob("runbooks/*.md")}, alerts)
        for path in MONITORING.glob("runbooks/*.md"):
            text = path.read_text()
            self.assertEqual(re.findall(r"^#+ .*", text, re.M), [f"# {path.stem}", "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"])
            for link in re.findall(r"\]\((\w+\.md)\)", text):
                self.assertTrue((path.parent / link).exists(), link)
        for rule in rules():
            if "alert" in rule:
                self.assertEqual(set(rule["annotations"]), {"summary", "description"}, rule["alert"])
                self.assertIn(rule["labels"]["severity"], ("info", "warning", "critical"))

    def test_dashboards_are_as_generated(self):
        run(MONITORING / "dashboards/generate.py", "--check")

    def test_panels_say_what_they_show(self):
        names = set()
        for dashboard in DASHBOARDS:
            board = json.loads(dashboard.read_text())
            names.add(board["uid"])
            self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
            self.assertLess(dashboard.stat().st_size, 200_000)
            for panel in board["panels"]:
                for key in ("title", "description"):
                    self.assertTrue(panel[key], panel)
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                self.assertNotIn(panel["fieldConfig"]["defaults"]["unit"], ("Bps",), "renders MB/s beside MiB")
                for target in panel["targets"]:
                    self.assertIn("cluster", target["expr"], target["expr"])
        self.assertEqual(len(names), len(DASHBOARDS))


class ExportTest(ClusterTest):
    def exported(self):
        """Names of all that a node and a controller export, with what histograms add."""
        filesystem = self.filesystem("btrfs", 256)
        tls = self.certificates()
        node = self.node("one", f"data={filesystem.path}", flags=tls).start()
        controller = self.controller({"one": node}, flags=tls).start()
        ask = [*tls, "--controller", controller.address]
        # Some series are there only once something has happened.
        self.cowherd("schedule", "create", "yearly", "--cron", "0 0 1 1 *", "--all", *ask)
        self.cowherd("schedule", "run", "yearly", *ask)
        wait_for("a run has succeeded", lambda: "schedule_last_success" in controller.metrics()[0])
        names = set()
        for server in (node, controller):
            text, samples = server.metrics()
            done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), server.command[0])
            names |= set(re.findall(r"^# TYPE (\S+)", text, re.M)) | {sample.split("{")[0] for sample in samples}
        return names

    def test_every_metric_named_is_exported(self):
        exported = self.exported()
        recorded = {rule["record"] for rule in rules() if "record" in rule}
        texts = {path.name: path.read_text() for path in MONITORING.glob("runbooks/*.md")}
        texts.update({path.name: "\n".join(queries(path)) for path in DASHBOARDS})
        texts.update({rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()})
        for where, text in texts.items():
            for name in RECORDED.findall(text):
                self.assertIn(name, recorded, where)
            for name in METRIC.findall(RECORDED.sub("", text)):
                self.assertIn(name, exported, where)


if __name__ == "__main__":
    unittest.main()
