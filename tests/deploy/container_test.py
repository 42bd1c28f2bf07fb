#!/usr/bin/python3
"""The image as it is shipped, run with exactly the rights that the manifests give its pods, on btrfs and XFS.

Needs root, a build in bazel-bin, and podman, buildah, runc and debootstrap. The image's base is made by debootstrap, so
nothing but Debian's packages is fetched. Containers run in this machine's network namespace, on loopback.
"""

import json
import os
import pathlib
import subprocess
import sys
import unittest

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/integration"))
from cluster import BIN, MIB, ClusterTest, checksums, run, wait_for, write_random  # noqa: E402

IMAGE = "localhost/cowherd:test"
PROGRAMS = ("client/cowherd", "server/node/cowherd-node", "server/controller/cowherd-controller")
GOLDEN = REPOSITORY / "tests/deploy/golden/single.yaml"


def workload(kind):
    """The pod template of the one workload of this kind."""
    documents = yaml.safe_load_all(GOLDEN.read_text())
    return next(document for document in documents if document["kind"] == kind)["spec"]["template"]["spec"]


def rights(pod):
    """A pod's security contexts as flags of podman; everything in them must be known here."""
    container = dict(pod["containers"][0]["securityContext"])
    context = dict(pod["securityContext"])
    flags = []
    for key in ("fsGroup", "fsGroupChangePolicy", "runAsNonRoot"):
        context.pop(key, None)
    assert context.pop("seccompProfile") == {"type": "RuntimeDefault"}  # podman's default, too
    flags.append(f"--user={context.pop('runAsUser')}:{context.pop('runAsGroup')}")
    assert container.pop("privileged") is False
    if container.pop("allowPrivilegeEscalation") is False:
        flags.append("--security-opt=no-new-privileges")
    if container.pop("readOnlyRootFilesystem"):
        flags += ["--read-only", "--read-only-tmpfs=false"]
    capabilities = container.pop("capabilities")
    flags += [f"--cap-drop={name.lower()}" for name in capabilities["drop"]]
    flags += [f"--cap-add={name}" for name in capabilities.get("add", [])]
    assert not context and not container, (context, container)
    return flags


class Podman:
    """Images and containers in a directory of their own."""

    def __init__(self, directory):
        self.environment = dict(os.environ, CONTAINERS_STORAGE_CONF=str(directory / "storage.conf"))
        (directory / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/root"\nrunroot = "{directory}/run"\n'
        )

    def __call__(self, *words):
        """Runs podman; what it said, a container's standard error included."""
        command = ["podman", "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=none", *map(str, words)]
        done = run(*command, env=self.environment, stdin=subprocess.DEVNULL, timeout=120)
        return done.stdout.decode() + done.stderr.decode()

    def start(self, name, mounts, flags, *command):
        volumes = [f"--volume={outside}:{inside}:rslave" for outside, inside in mounts.items()]
        # Limits that this machine may not let podman raise.
        limits = ["--pids-limit=0", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
        self("run", "--detach", f"--name={name}", "--network=host", *limits, *flags, *volumes, IMAGE, *command)

    def serving(self, name):
        """The line that a server says once it serves."""
        for line in self("logs", name).splitlines():
            if '"msg":"serving"' in line:
                return json.loads(line)
        if self("inspect", "--format={{.State.Running}}", name).strip() != "true":
            raise AssertionError(f"{name} ended: {self('logs', name)}")
        return None


class ContainerTest(ClusterTest):
    podman = None

    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(run("mktemp", "-d", "-p", os.environ.get("COWHERD_TEST_DIR", "/var/tmp")).stdout.decode().strip())
        cls.addClassCleanup(run, "rm", "-rf", cls.top)
        cls.podman = Podman(cls.top)
        cls.addClassCleanup(cls.podman, "system", "reset", "--force")
        base = cls.top / "base"
        run("debootstrap", "--variant=minbase", "bookworm", base)
        run("tar", "-C", base, "-c", "-f", cls.top / "base.tar", ".")
        run("rm", "-rf", base)
        cls.podman("import", cls.top / "base.tar", "localhost/base")
        run(REPOSITORY / "deploy/container/build.sh", IMAGE, "localhost/base", env=cls.podman.environment)

    def container(self, name, *rest):
        self.addCleanup(self.podman, "rm", "--force", "--ignore", name)
        self.podman.start(name, *rest)
        return wait_for(f"{name} serves", lambda: self.podman.serving(name))

    def test_dedupes_with_the_rights_of_the_manifests(self):
        for kind in ("btrfs", "xfs"):
            with self.subTest(kind=kind):
                self.dedupe_on(kind)

    def dedupe_on(self, kind):
        filesystem = self.filesystem(kind)
        private = filesystem.path / "private"
        private.mkdir()
        write_random(private / "a", 32 * MIB, kind)
        (private / "b").write_bytes((private / "a").read_bytes())
        # Others' files in a folder that is closed to all but its owner.
        for path in (private / "a", private / "b"):
            os.chmod(path, 0o400)
            os.chown(path, 12345, 12345)
        os.chown(private, 12345, 12345)
        os.chmod(private, 0o700)
        filesystem.sync()
        before, free = checksums(filesystem.path), filesystem.free()

        node_state, store = self.directory / f"state-{kind}", self.directory / f"store-{kind}"
        node_state.mkdir(mode=0o700)
        store.mkdir(mode=0o700)
        os.chown(store, 65532, 65532)
        node = self.container(
            f"node-{kind}", {filesystem.path: "/roots/data", node_state: "/var/lib/cowherd"}, rights(workload("DaemonSet")),
            "cowherd-node", f"--root=data={filesystem.path}:/roots/data", "--name=node-1", "--listen=127.0.0.1:0",
            "--metrics_listen=127.0.0.1:0", "--state_dir=/var/lib/cowherd/node",
        )  # fmt: skip
        controller = self.container(
            f"controller-{kind}", {store: "/var/lib/cowherd"}, rights(workload("Deployment")),
            "cowherd-controller", "--store=/var/lib/cowherd/jobs.db", f"--node=node-1=127.0.0.1:{node['port']}",
            "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0", "--probe_interval=0.5s",
        )  # fmt: skip
        address = f"127.0.0.1:{controller['port']}"
        job = self.cowherd("-o", "json", "job", "create", "--controller", address, "--all", "--wait")
        job = job[-1] if isinstance(job, list) else job
        self.assertEqual(job["state"], "SUCCEEDED", job)
        self.assertGreaterEqual(int(job["totals"]["bytes_accepted"]), 32 * MIB)
        self.assertGreaterEqual(filesystem.free() - free, 31 * MIB)
        self.assertEqual(checksums(filesystem.path), before)
        self.assertTrue(any(node_state.rglob("*")), "the node kept no state")
        for name in (f"controller-{kind}", f"node-{kind}"):
            self.podman("stop", "--time=30", name)
            self.assertEqual(self.podman("inspect", "--format={{.State.ExitCode}}", name).strip(), "0")

    def test_holds_what_the_programs_need_and_no_more(self):
        said = json.loads(self.podman("inspect", "--type=image", IMAGE))[0]
        self.assertEqual(said["Config"]["User"], "65532:65532")
        commit = run("git", "-C", REPOSITORY, "rev-parse", "HEAD").stdout.decode().strip()
        self.assertEqual(said["Config"]["Labels"]["org.opencontainers.image.revision"], commit)
        self.assertEqual(said["Config"]["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0")
        script = "for program in cowherd cowherd-node cowherd-controller; do $program --version; echo; ldd $(command -v $program); done"
        self.addCleanup(self.podman, "rm", "--force", "--ignore", "look")
        self.podman.start("look", {}, ["--read-only"], "sh", "-c", script)
        wait_for("the look ends", lambda: self.podman("inspect", "--format={{.State.Running}}", "look").strip() == "false")
        text = self.podman("logs", "look")
        versions = [run(BIN / program, "--version").stdout.decode().strip() for program in PROGRAMS]
        self.assertEqual([line for line in text.splitlines() if line in versions], versions, text)
        self.assertNotIn("not found", text)


if __name__ == "__main__":
    unittest.main()
