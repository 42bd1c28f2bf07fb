#!/usr/bin/python3
"""Measures the scan engine on sets of test data, beside the peers that Debian has.

    tests/bench/scan.py [--mib N] [--runs N] [--filesystem btrfs|xfs] [--peers] [SET...]

Each tool gets the same data on a fresh loop filesystem, mounted anew and with cold caches. Times are ratios to the floor:
reading every file once with cat. Freed is the gain in free space, in parts of what is duplicate at a granularity of 4 KiB.
Needs root and a build of //tests/bench:scan_engine; drops the machine's page cache. Compare within one run only.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ENGINE = REPOSITORY / "bazel-bin/tests/bench/scan_engine"
SETS = ["copies", "smallfiles", "vmimages", "sparse", "unique"]
PEERS = {
    "duperemove": ["duperemove", "-drhq", "--hashfile=:memory:"],
    "jdupes": ["jdupes", "-rBq"],
}


def run(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)


class Volume:
    """A filesystem in a file that can be put back to its first state."""

    def __init__(self, directory, kind):
        self.kind = kind
        self.image = directory / "image"
        self.original = directory / "original"
        self.path = directory / "mount"
        self.path.mkdir()

    def fill(self, name, mib):
        with open(self.original, "wb") as image:
            image.truncate((mib * 3 + 1024) << 20)
        run(f"mkfs.{self.kind}", "-q", "-f", self.original)
        run("mount", "-o", "loop", self.original, self.path)
        try:
            return int(run(REPOSITORY / "tests/bench/sets.py", name, self.path, mib).stdout)
        finally:
            run("umount", self.path)

    def mount_cold(self):
        run("cp", "--sparse=always", self.original, self.image)
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        run("mount", "-o", "loop", self.image, self.path)

    def unmount(self):
        subprocess.run(["umount", str(self.path)], stderr=subprocess.DEVNULL)

    def free(self):
        run("sync", "-f", self.path)
        stat = os.statvfs(self.path)
        return stat.f_bfree * stat.f_frsize


def measure(volume, command, after=lambda output: {}):
    """Seconds, bytes freed and whatever `after` makes of the output, from a cold start."""
    volume.mount_cold()
    try:
        free = volume.free()
        begin = time.monotonic()
        done = subprocess.run(command, shell=isinstance(command, str), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        run("sync", "-f", volume.path)
        seconds = time.monotonic() - begin
        return {"seconds": seconds, "freed": volume.free() - free, "code": done.returncode, **after(done.stdout)}
    finally:
        volume.unmount()


def median(results, key):
    return statistics.median(r[key] for r in results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", default=SETS)
    parser.add_argument("--mib", type=int, default=2000, help="size of a set (default 2000)")
    parser.add_argument("--runs", type=int, default=3, help="medians of so many runs (default 3)")
    parser.add_argument("--filesystem", choices=["btrfs", "xfs"], default="btrfs")
    parser.add_argument("--peers", action="store_true", help="also run those of duperemove and jdupes that are installed")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or not ENGINE.exists():
        sys.exit("scan.py: run as root, after: bazel build //tests/bench:scan_engine")
    peers = {n: c for n, c in PEERS.items() if arguments.peers and shutil.which(c[0])}
    print(f"{arguments.filesystem}, {arguments.mib} MiB a set, median of {arguments.runs}\n")
    print("| set | tool | finding / floor | whole job / floor | freed / duplicate | CPU s | memory MiB | second run / first |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="cowherd-bench.", dir=os.environ.get("COWHERD_TEST_DIR", "/var/tmp")) as name:
        for index, chosen in enumerate(arguments.sets):
            directory = pathlib.Path(name) / str(index)
            directory.mkdir()
            volume = Volume(directory, arguments.filesystem)
            duplicate = volume.fill(chosen, arguments.mib)
            rows = bench(volume, arguments.runs, peers)
            floor = rows.pop("floor")
            for tool, row in rows.items():
                ratio = lambda key: f"{row[key] / floor:.2f}" if key in row else "–"
                freed = f"{row['freed'] / duplicate:.3f}" if duplicate else f"{row['freed'] / 1e6:.0f} MB"
                again = f"{row['again'] / row['job']:.3f}" if "again" in row else "–"
                print(f"| {chosen} | {tool} | {ratio('find')} | {ratio('job')} | {freed} | {row.get('cpu', '–')} | {row.get('rss', '–')} | {again} |", flush=True)
            shutil.rmtree(directory)


def bench(volume, runs, peers):
    rows = {"floor": median([measure(volume, f"find {volume.path} -type f -print0 | xargs -0 cat >/dev/null") for _ in range(runs)], "seconds")}
    own = lambda output: {"own": [json.loads(line) for line in output.splitlines()]}
    find = [measure(volume, [ENGINE, "--dry_run", volume.path], own) for _ in range(runs)]
    job = [measure(volume, f"{ENGINE} {volume.path} && {ENGINE} {volume.path}", own) for _ in range(runs)]
    rows["cowherd"] = {
        "find": statistics.median(r["own"][0]["seconds"] for r in find),
        "job": statistics.median(r["own"][0]["seconds"] for r in job),
        "again": statistics.median(r["own"][1]["seconds"] for r in job),
        "cpu": statistics.median(r["own"][0]["cpu"] for r in job),
        "rss": statistics.median(r["own"][0]["rss_mib"] for r in job),
        "freed": median(job, "freed"),
    }
    for name, command in peers.items():
        results = [measure(volume, [*command, str(volume.path)]) for _ in range(runs)]
        rows[name] = {"job": median(results, "seconds"), "freed": median(results, "freed")}
    return rows


if __name__ == "__main__":
    main()
