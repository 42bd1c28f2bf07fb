#!/usr/bin/python3
"""Writes prometheus-rule.yaml, beside this script, from deploy/monitoring/rules.

    deploy/kubernetes/components/monitoring/generate.py [--check]      --check: fail if it is not as it would be written

Kustomize cannot make an object of several files, nor read above its own folder.
"""

import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
RULES = HERE.parents[2] / "monitoring/rules"


class Dumper(yaml.SafeDumper):
    pass


# Text of several lines stays readable.
Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def rule():
    groups = [group for path in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(path.read_text())["groups"]]
    head = "# Written by generate.py from deploy/monitoring/rules.\n"
    return head + yaml.dump(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "cowherd", "namespace": "cowherd"},
            "spec": {"groups": groups},
        },
        Dumper=Dumper,
        sort_keys=False,
        width=1000,
    )


if __name__ == "__main__":
    path = HERE / "prometheus-rule.yaml"
    if sys.argv[1:] == ["--check"]:
        if path.read_text() != rule():
            sys.exit(f"{path} is not as generate.py writes it; run generate.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        path.write_text(rule())
