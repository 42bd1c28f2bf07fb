#!/usr/bin/python3
"""How much longer a foreground reader waits while a throttled job runs.

    tests/bench/latency.py [--mib N] [--rate MIB] [--windows N] [--filesystem btrfs|xfs]...

A reader reads 4 KiB at random places of a file, past the page cache, on the filesystem whose duplicates a job shares at
a rate of so many MiB/s. The job is stopped and continued by signals, window by window of one second, so that both kinds of
windows see the same state; p99 is taken window by window, and the medians are compared. Needs root and a build of
//tests/bench:scan_engine; drops the machine's page cache.
"""

import argparse
import mmap
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import scan

BLOCK = 4096
BAR = 1.5


def window(fd, blocks, luck, seconds=1.0):
    """p99 of the reads of one window, in seconds."""
    buffer = mmap.mmap(-1, BLOCK)  # aligned, as O_DIRECT asks for
    latencies = []
    end = time.monotonic() + seconds
    while (begin := time.perf_counter()) and time.monotonic() < end:
        os.preadv(fd, [buffer], luck.randrange(blocks) * BLOCK)
        latencies.append(time.perf_counter() - begin)
    return statistics.quantiles(latencies, n=100)[98]


def measure(kind, arguments, directory):
    volume = scan.Volume(directory, kind)
    volume.fill("copies", arguments.mib)
    volume.mount_cold()
    try:
        place = volume.path / "foreground"
        with open(place, "wb") as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
        scan.drop_caches()
        fd = os.open(place, os.O_RDONLY | os.O_DIRECT)
        job = subprocess.Popen([scan.ENGINE, "--bytes_per_second", str(arguments.rate << 20), volume.path], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        try:
            luck = random.Random(1)
            alone, beside = [], []
            for _ in range(arguments.windows):
                job.send_signal(signal.SIGSTOP)
                alone.append(window(fd, (256 << 20) // BLOCK, luck))
                job.send_signal(signal.SIGCONT)
                beside.append(window(fd, (256 << 20) // BLOCK, luck))
                if job.poll() is not None:
                    sys.exit(f"latency.py: the job ended within {len(beside)} windows; give a larger --mib or a smaller --rate")
            return statistics.median(alone), statistics.median(beside)
        finally:
            job.kill()
            job.wait()
            os.close(fd)
    finally:
        volume.unmount()


def main():
    # What was made is taken away also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=600, help="size of the set (default 600)")
    parser.add_argument("--rate", type=int, default=20, help="of the job, MiB/s (default 20)")
    parser.add_argument("--windows", type=int, default=9, help="with the job, and as many without (default 9)")
    parser.add_argument("--filesystem", action="append", choices=["btrfs", "xfs"], help="default: both")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or not scan.ENGINE.exists():
        sys.exit("latency.py: run as root, after: bazel build //tests/bench:scan_engine")
    print(f"| filesystem | p99 alone, ms | p99 beside a job of {arguments.rate} MiB/s, ms | ratio | bar | |\n|---|---|---|---|---|---|", flush=True)
    for kind in arguments.filesystem or ["btrfs", "xfs"]:
        with tempfile.TemporaryDirectory(prefix="cowherd-bench.", dir=os.environ.get("COWHERD_TEST_DIR", "/var/tmp")) as directory:
            alone, beside = measure(kind, arguments, pathlib.Path(directory))
        print(f"| {kind} | {alone * 1e3:.2f} | {beside * 1e3:.2f} | {beside / alone:.2f} | <= {BAR} | "
              f"{'met' if beside / alone <= BAR else 'MISSED'} |", flush=True)


if __name__ == "__main__":
    main()
