#!/usr/bin/python3
"""Runs a program as a systemd unit confines it, where there is no systemd to do it; for tests.

    confine.py UNIT_FILE PROGRAM ARGUMENT...

Of the unit it heeds the user (any User= is 65532 here), the capability bounding set, NoNewPrivileges and SystemCallFilter. A
system call that the filter does not let through kills the program instead of failing, so that a way around does not hide it.
"""

import errno
import os
import pathlib
import subprocess
import sys

import seccomp

WITHIN = "COWHERD_CONFINED"
# Its number; libseccomp does not know the name.
CACHESTAT = 451


def settings(unit):
    """{key: [value, ...]} of the section Service."""
    found, section = {}, None
    for line in pathlib.Path(unit).read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def expand(names):
    """System calls of names and of sets such as @file-system, as this machine's systemd has them."""
    calls = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        said = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True).stdout
        lines = [line.strip() for line in said.splitlines()[1:]]
        calls |= expand(line for line in lines if line and not line.startswith("#"))
    return calls


def allowed(unit):
    """The system calls that a unit may make; @default is always among them."""
    first, *rest = settings(unit)["SystemCallFilter"]
    assert not first.startswith("~"), first
    calls = expand(first.split()) | expand(["@default"])
    for line in rest:
        calls = calls - expand(line[1:].split()) if line.startswith("~") else calls | expand(line.split())
    return calls


def capabilities(unit):
    (line,) = settings(unit)["CapabilityBoundingSet"]
    return sorted(name.removeprefix("CAP_") for name in line.split())


def main(unit, *command):
    if WITHIN not in os.environ:
        (privileges,) = settings(unit)["NoNewPrivileges"]
        assert privileges == "yes"
        bounds = ",".join(["-all", *(f"+{name.lower()}" for name in capabilities(unit))])
        user = ["--reuid=65532", "--regid=65532", "--clear-groups"] if "User" in settings(unit) else []
        os.environ[WITHIN] = "1"
        os.execvp("setpriv", ["setpriv", f"--bounding-set={bounds}", "--inh-caps=-all", *user, "--no-new-privs",
                              sys.executable, "-B", __file__, unit, *command])  # fmt: skip
    del os.environ[WITHIN]
    calls = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    for name in allowed(unit):
        try:
            calls.add_rule(seccomp.ALLOW, name)
        except (OSError, RuntimeError):
            pass  # not one of this machine's
    # Younger than Debian's systemd, which therefore refuses it to every unit with a filter; who calls it does without.
    calls.add_rule(seccomp.ERRNO(errno.EPERM), CACHESTAT)
    calls.load()
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
