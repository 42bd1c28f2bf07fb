#!/usr/bin/python3
"""What Prometheus scrapes: the plain scrape configs and the PodMonitors give the labels that rules and dashboards go by.

Needs promtool (Debian's prometheus), and npm install in this folder.
"""

import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import manifests
import yaml

MONITORING = manifests.HERE.parents[1] / "deploy/monitoring"
LABELS = "__meta_kubernetes_pod_label_app_kubernetes_io_"
# What the discovery of Kubernetes tells of every container port: Debian's Prometheus is built without it.
PORTS = [
    {"pod": "cowherd-node-x7k2p", "node": "storage-1", "component": "node", "address": "10.0.0.1", "ports": (7300, 7301, 7302)},
    {"pod": "cowherd-controller-5d-abc", "node": "other-1", "component": "controller", "address": "10.0.0.2", "ports": (7400, 7401, 7402)},
]


def discovered():
    found = []
    for pod in PORTS:
        for name, port in zip(("grpc", "metrics", "health"), pod["ports"]):
            found.append({
                "targets": [f"{pod['address']}:{port}"],
                "labels": {
                    "__meta_kubernetes_pod_name": pod["pod"], "__meta_kubernetes_pod_node_name": pod["node"],
                    "__meta_kubernetes_namespace": "cowherd", "__meta_kubernetes_pod_container_port_name": name,
                    f"{LABELS}name": "cowherd", f"{LABELS}instance": "cowherd", f"{LABELS}component": pod["component"],
                },
            })  # fmt: skip
    stranger = {f"{LABELS}name": "web", f"{LABELS}component": "node", "__meta_kubernetes_pod_container_port_name": "metrics"}
    return found + [{"targets": ["10.0.0.3:7301"], "labels": stranger}]


def jobs_of_rules():
    """The job labels that rules and dashboards ask for."""
    texts = [path.read_text() for path in (*MONITORING.glob("rules/*.yaml"), *MONITORING.glob("dashboards/*.json"))]
    return {job for text in texts for job in re.findall(r'\bjob=\\?"([^"\\]+)', text)}


def snake(name):
    return re.sub("([A-Z])", lambda match: "_" + match.group(1).lower(), name)


def of_monitor(monitor):
    """A PodMonitor as the operator makes a scrape config of it."""
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    wanted = [
        {"action": "keep", "source_labels": ["__meta_kubernetes_pod_label_" + re.sub("[^a-z]", "_", key)], "regex": value}
        for key, value in monitor["spec"]["selector"]["matchLabels"].items()
    ]
    wanted.append({"action": "keep", "source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": endpoint["port"]})
    given = [{snake(key): value for key, value in rule.items()} for rule in endpoint["relabelings"]]
    return {
        "job_name": f"podMonitor/{monitor['metadata']['namespace']}/{monitor['metadata']['name']}/0",
        "scrape_interval": endpoint["interval"], "kubernetes_sd_configs": [{"role": "pod"}], "relabel_configs": wanted + given,
    }  # fmt: skip


class ScrapeTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def promtool(self, *words):
        done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def scraped(self, config):
        """Targets of each scrape config: {(job, instance): address}."""
        (self.directory / "pods.json").write_text(json.dumps(discovered()))
        for scrape in config["scrape_configs"]:
            if scrape.pop("kubernetes_sd_configs", None):
                scrape["file_sd_configs"] = [{"files": ["pods.json"]}]
        path = self.directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.promtool("check", "config", path)
        found = {}
        for scrape in config["scrape_configs"]:
            for target in json.loads(self.promtool("check", "service-discovery", "--timeout=1s", path, scrape["job_name"])):
                if target.get("labels"):
                    labels = target["labels"]
                    self.assertNotIn((labels["job"], labels["instance"]), found)
                    found[labels["job"], labels["instance"]] = labels["__address__"]
        return found

    def test_the_static_config(self):
        path = MONITORING / "scrape/static.yaml"
        self.promtool("check", "config", path)
        found = self.scraped(yaml.safe_load(path.read_text()))
        self.assertEqual(found, {
            ("cowherd-node", "storage-1.example"): "storage-1.example:7301",
            ("cowherd-node", "storage-2.example"): "storage-2.example:7301",
            ("cowherd-controller", "controller.example"): "controller.example:7401",
        })  # fmt: skip
        self.assertEqual({job for job, _ in found}, jobs_of_rules())

    def test_pods_are_found_by_the_config_for_kubernetes_and_by_the_monitors_alike(self):
        config = yaml.safe_load((MONITORING / "scrape/kubernetes.yaml").read_text())
        for scrape in config["scrape_configs"]:
            self.assertEqual(scrape["kubernetes_sd_configs"], [{"role": "pod", "namespaces": {"names": ["cowherd"]}}])
        monitors = [each for each in manifests.overlay("single", ["monitoring"]) if each["kind"] == "PodMonitor"]
        expected = {
            ("cowherd-node", "storage-1"): "10.0.0.1:7301",
            ("cowherd-controller", "cowherd-controller-5d-abc"): "10.0.0.2:7401",
        }
        self.assertEqual(self.scraped(config), expected)
        self.assertEqual(self.scraped({"scrape_configs": [of_monitor(monitor) for monitor in monitors]}), expected)
        self.assertEqual({job for job, _ in expected}, jobs_of_rules())

    def test_a_plain_grafana_is_told_of_prometheus_and_of_the_dashboards(self):
        provisioning = MONITORING / "grafana/provisioning"
        self.assertEqual({path.relative_to(provisioning).as_posix() for path in provisioning.rglob("*.yaml")},
                         {"datasources/cowherd.yaml", "dashboards/cowherd.yaml"})  # fmt: skip
        # The keys are those that Grafana's documentation of provisioning knows.
        sources = yaml.safe_load((provisioning / "datasources/cowherd.yaml").read_text())
        self.assertEqual((sources["apiVersion"], set(sources)), (1, {"apiVersion", "datasources"}))
        for source in sources["datasources"]:
            self.assertLessEqual(set(source), {"name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData", "orgId", "version"})
            self.assertEqual((source["type"], source["access"]), ("prometheus", "proxy"))
        dashboards = yaml.safe_load((provisioning / "dashboards/cowherd.yaml").read_text())
        self.assertEqual((dashboards["apiVersion"], set(dashboards)), (1, {"apiVersion", "providers"}))
        (provider,) = dashboards["providers"]
        self.assertLessEqual(set(provider), {"name", "orgId", "folder", "folderUid", "type", "disableDeletion", "updateIntervalSeconds",
                                             "allowUiUpdates", "options"})  # fmt: skip
        self.assertEqual((provider["type"], set(provider["options"])), ("file", {"path"}))
        # A dashboard is found by any of them.
        for path in MONITORING.glob("dashboards/*.json"):
            variables = {each["name"]: each for each in json.loads(path.read_text())["templating"]["list"]}
            self.assertEqual((variables["datasource"]["type"], variables["datasource"]["query"]), ("datasource", "prometheus"))


if __name__ == "__main__":
    unittest.main()
