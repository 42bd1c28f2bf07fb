#!/usr/bin/python3
"""Fault tests: real controllers, nodes and filesystems, killed, stopped, cut off and filled up. Needs root and a build.

    run.py [--case NAME]... [--seed N] [--seconds S] [--jobs N]

Without --case every case runs, and two random runs, one with each store, of S seconds (default 120), whose seed is printed; N
side by side (default 6), for they wait most of the time. --seed repeats a random run, --seconds 0 leaves them out. The history
of every call is kept where a case fails (--histories), and checker.py looks through it again.
"""

import argparse
import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

import caller_cases
import etcd_cases
import random_run
import scene
import sqlite_cases

MODULES = (sqlite_cases, etcd_cases, caller_cases, random_run)
RANDOM = ("random", "random_etcd")
# A bar of the time that something takes: nothing else runs meanwhile.
ALONE = ("etcd_kill_9_of_its_leader",)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", default=[], help="run only this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random runs (default: the time)")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the random runs last (default 120)")
    parser.add_argument("--histories", type=pathlib.Path, default="/var/tmp", help="where they are kept (default /var/tmp)")
    parser.add_argument("--jobs", type=int, default=6, help="how many cases run side by side (default 6)")
    arguments = parser.parse_args()
    # What a test has made is taken away also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scene.Options.seed = arguments.seed
    scene.Options.seconds = arguments.seconds
    scene.Options.histories = arguments.histories

    cases = {}
    for module in MODULES:
        for suite in unittest.defaultTestLoader.loadTestsFromModule(module):
            for test in suite:
                cases[test._testMethodName.removeprefix("test_")] = test
    if arguments.list:
        print("\n".join(cases))
        return 0
    unknown = set(arguments.case) - set(cases)
    if unknown:
        parser.error(f"--case: there is no {sorted(unknown)[0]}; --list prints the names")
    chosen = arguments.case or [name for name in cases if name not in RANDOM or arguments.seconds > 0]
    if len(chosen) == 1:
        return run_here(chosen[0], cases[chosen[0]])
    print(f"seed {arguments.seed}", flush=True)
    same = [f"--seed={arguments.seed}", f"--seconds={arguments.seconds:g}", f"--histories={arguments.histories}"]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        # The longest first.
        order = sorted(chosen, key=lambda name: (name not in RANDOM, "every" not in name))
        ends = {name: pool.submit(run_apart, name, same) for name in order if name not in ALONE}
        failed = [name for name in chosen if name in ends and not ends[name].result()]
    failed += [name for name in chosen if name in ALONE and not run_apart(name, same)]
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed; seed {arguments.seed}")
    for name in failed:
        print(f"again: tests/faults/run.py --case {name} {' '.join(same[:2]) if name in RANDOM else ''}")
    return 1 if failed else 0


def run_here(name, test):
    """Runs one; the exit code."""
    begin = time.monotonic()
    with open(os.devnull, "w") as nowhere:
        result = unittest.TextTestRunner(verbosity=0, stream=nowhere).run(test)
    # One that was not finished has proved nothing.
    good = result.wasSuccessful() and getattr(test, "finished", True)
    for _, text in result.failures + result.errors:
        print(text)
    print(f"{'PASS' if good else 'FAIL'} {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    return 0 if good else 1


def run_apart(name, flags):
    """Runs one in a process of its own, and tells what it said; whether it went well."""
    done = subprocess.run([sys.executable, "-B", __file__, f"--case={name}", *flags], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    lines = done.stdout.splitlines()
    # What a random run did is worth telling only where it failed.
    print("\n".join(lines if done.returncode != 0 else lines[-1:]), flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
