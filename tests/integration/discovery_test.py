#!/usr/bin/python3
"""Real nodes that share a name, have several addresses, or do not come back."""

import threading
import unittest

import cluster
from cluster import MIB, wait_for, write_random


class DiscoveryTest(cluster.ClusterTest):
    def data(self):
        filesystem = self.filesystem("btrfs", 512)
        for copy in range(2):
            write_random(filesystem.path / f"copy{copy}", 8 * MIB, 1)
        filesystem.sync()
        return f"data={filesystem.path}"

    def nodes_of(self, controller):
        return self.cowherd("-o", "json", "node", "list", "--controller", controller.address)["nodes"]

    def await_state(self, controller, name, state, seconds=20.0):
        return wait_for(f"{name} is {state}", lambda: next(
            (node for node in self.nodes_of(controller) if node["name"] == name and node["state"] == state), None), seconds)

    def test_two_nodes_of_one_name_get_no_tasks(self):
        one = self.node("twin", self.data()).start()
        two = self.node("twin", self.data())
        two.host, two.port = "127.0.0.2", one.port
        controller = self.controller({}, [f"--node_dns=herd.test:{one.port}"])
        self.resolve_as(controller, "127.0.0.1 herd.test\n127.0.0.2 herd.test\n")
        controller.start()
        self.await_state(controller, "twin", "NODE_UP")
        two.start()
        node = self.await_state(controller, "twin", "NODE_REFUSED")
        self.assertEqual(node["error"]["reason"], "NODE_NAME_TAKEN")
        for server in (one, two):
            self.assertIn(server.address, node["error"]["message"])
        self.assertEqual(controller.metrics()[1]['cowherd_controller_nodes{state="refused"}'], 1)
        job = self.create_job(controller, "--all")
        # As many probes as it takes to be taken in, if it could be.
        seen = [self.nodes_of(controller)[0]["state"] for _ in range(30)]
        self.assertEqual(set(seen), {"NODE_REFUSED"})
        task = self.job(controller, job)["tasks"][0]
        self.assertEqual((task["state"], task["error"]["reason"]), ("TASK_WAITING", "NODE_NAME_TAKEN"))
        for server in (one, two):
            self.assertEqual(server.metrics()[1]["cowherd_node_tasks_running"], 0)
        one.stop()
        self.assertEqual(self.await_state(controller, "twin", "NODE_UP")["address"], two.address)
        self.wait_job(controller, job, "SUCCEEDED")

    def test_all_are_all_also_right_after_a_restart(self):
        one = self.node("one", self.data()).start()
        two = self.node("two", self.data())
        two.host, two.port = "127.0.0.2", one.port
        two.start()
        controller = self.controller({}, [f"--node_dns=herd.test:{one.port}"])
        self.resolve_as(controller, "127.0.0.1 herd.test\n127.0.0.2 herd.test\n")
        controller.start()
        for name in ("one", "two"):
            self.await_state(controller, name, "NODE_UP")
        controller.kill()
        # Its answer comes late, within the time that an answer may take.
        two.freeze()
        controller.start()
        thaw = threading.Timer(0.7, two.thaw)
        thaw.start()
        self.addCleanup(thaw.join)
        job = self.create_job(controller, "--all")
        self.assertEqual(sorted(task["node"] for task in self.wait_job(controller, job, "SUCCEEDED")["tasks"]), ["one", "two"])

    def test_a_node_started_anew_is_not_two(self):
        # Without a state directory each start is another instance; every address tells of it in its turn.
        node = self.node("one", self.data(), flags=["--allow_remote_plaintext"])
        node.host = "0.0.0.0"
        node.start()
        addresses = [f"127.0.0.1:{node.port}", f"127.0.0.3:{node.port}"]
        controller = self.controller({}, [f"--node=one={address}" for address in addresses]).start()
        first = self.await_state(controller, "one", "NODE_UP")["node"]["instance_id"]
        for _ in range(2):
            node.kill()
            self.await_state(controller, "one", "NODE_DOWN")
            node.start()
            self.await_state(controller, "one", "NODE_UP")
        entry = wait_for("both addresses answer", lambda: next(
            (entry for entry in self.nodes_of(controller)
             if entry["state"] == "NODE_UP" and not any("error" in address and address["error"] for address in entry["addresses"])), None))
        self.assertEqual([address["address"] for address in entry["addresses"]], addresses)
        self.assertNotEqual(entry["node"]["instance_id"], first)
        self.assertNotIn("NODE_NAME_TAKEN", controller.log.read_text())

    def test_the_address_that_answers_is_used(self):
        node = self.node("one", self.data()).start()
        controller = self.controller({}, ["--node=one=127.0.0.1:1", f"--node=one={node.address}"]).start()
        entry = self.await_state(controller, "one", "NODE_UP")
        self.assertEqual(entry["address"], node.address)
        self.assertEqual(len(entry["addresses"]), 2)
        self.wait_job(controller, self.create_job(controller, "--all"), "SUCCEEDED")

    def test_a_node_that_stays_down_is_lost(self):
        node = self.node("one", self.data()).start()
        controller = self.controller({"one": node}, ["--lost_after=2s"]).start()
        self.await_state(controller, "one", "NODE_UP")
        node.kill()
        self.await_state(controller, "one", "NODE_DOWN")
        waits = self.create_job(controller, "--all")
        given_up = self.create_job(controller, "--all", "--on_lost_node", "give_up")
        self.await_state(controller, "one", "NODE_LOST")
        job = self.wait_job(controller, given_up, "JOB_FAILED")
        self.assertEqual(job["tasks"][0]["error"]["reason"], "NODE_LOST")
        self.assertNotIn(self.job(controller, waits)["state"], ("JOB_FAILED", "SUCCEEDED"))
        _, samples = controller.metrics()
        self.assertEqual(samples["cowherd_controller_nodes_lost_total"], 1)
        self.assertEqual(samples["cowherd_controller_tasks_given_up_total"], 1)
        self.assertEqual(samples['cowherd_controller_nodes{state="lost"}'], 1)
        # One that is cancelled does not wait for it either.
        cancelled = self.create_job(controller, "--all")
        self.cowherd("job", "cancel", "--controller", controller.address, cancelled)
        self.wait_job(controller, cancelled, "CANCELLED")
        node.start()
        self.wait_job(controller, waits, "SUCCEEDED")


if __name__ == "__main__":
    unittest.main(verbosity=2)
