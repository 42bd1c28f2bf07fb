#!/usr/bin/env python3
"""Writes compile_commands.json for clangd and clang-tidy from Bazel's own compile actions.

Generated headers must be there: run `bazel build //...` before.
"""

import json
import os
import pathlib
import subprocess

root = pathlib.Path(__file__).resolve().parents[1]
os.chdir(root)


def bazel(*arguments):
    return subprocess.run(["bazel", *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


directory = bazel("info", "execution_root").decode().strip()
# By their names: a pattern leaves out what is tagged manual.
targets = bazel("query", 'kind("cc_.*", //...)').decode().split()
actions = json.loads(bazel("aquery", f'mnemonic("CppCompile", set({" ".join(targets)}))', "--output=jsonproto"))["actions"]
commands = {}
for action in actions:
    arguments = action["arguments"]
    source = arguments[arguments.index("-c") + 1]
    if (root / source).is_file():
        arguments[0] = "g++"
        # Options that only gcc knows.
        arguments = [a for a in arguments if a not in ("-fno-canonical-system-headers", "-Wunused-but-set-parameter",
                                                       "-Wno-free-nonheap-object")]
        commands[source] = {"directory": directory, "file": str(root / source), "arguments": arguments}
(root / "compile_commands.json").write_text(json.dumps(list(commands.values()), indent=1) + "\n")
print(f"compile_commands.json: {len(commands)} files")
