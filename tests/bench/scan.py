#!/usr/bin/python3
"""Measures the scan engine on sets of test data, beside the peers that Debian has, and compares it with its bars.

    tests/bench/scan.py [--mib N] [--runs N] [--filesystem btrfs|xfs] [--peers] [--service] [SET...]

Each tool gets the same data on a fresh loop filesystem, mounted anew and with cold caches. Times are ratios to the floor:
reading every file once with cat. Freed is the gain in free space after sync, in parts of what is duplicate at a granularity
of 4 KiB. Read is what the device read during the job, in parts of the set. Needs root and a build of
//tests/bench:scan_engine, with --service also of the servers; drops the machine's page cache. Compare within one run only.
"""

import argparse
import contextlib
import datetime
import fcntl
import functools
import json
import mmap
import os
import pathlib
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ENGINE = REPOSITORY / "bazel-bin/tests/bench/scan_engine"
SETS = ["copies", "smallfiles", "vmimages", "sparse", "unique"]
# A job leaves files of less than 4 KiB alone; jdupes and rmlint look at all.
OPTIONS = "--min_file_size 1"
# By the path of the filesystem and of a directory elsewhere.
PEERS = {
    "duperemove": "duperemove -drhq --hashfile=:memory: {path}",
    "duperemove partial": "duperemove -drhq --hashfile=:memory: --dedupe-options=partial {path}",
    "duperemove -b 4k": "duperemove -drhq -b 4k --hashfile=:memory: {path}",
    "jdupes": "jdupes -rBq {path}",
    "rmlint": "cd {elsewhere} && rmlint -T df -o sh:{elsewhere}/rmlint.sh -c sh:handler=clone {path} && {elsewhere}/rmlint.sh -dq",
}
MANY_PEERS = ("duperemove partial", "duperemove -b 4k")  # only with --all_peers: they take long
FREED = {("btrfs", "copies"): 0.98, ("btrfs", "smallfiles"): 0.98, ("btrfs", "vmimages"): 0.98, ("btrfs", "sparse"): 0.95,
         ("xfs", "vmimages"): 0.95}
JOB = {("btrfs", "copies"): 1.1, ("btrfs", "smallfiles"): 0.7, ("btrfs", "vmimages"): 1.5, ("btrfs", "sparse"): 2,
       ("btrfs", "unique"): 0.1, ("xfs", "unique"): 1.1, ("xfs", "copies"): 1.3, ("xfs", "vmimages"): 2.2}
FIND = 0.12  # btrfs
FOUND_BY_READING = {"smallfiles": 0.02}  # btrfs; others 0.005
DROPPED = {("btrfs", "copies"): 1.2}
LARGER = {("xfs", "copies"): 2.2}
SERVICE = 1.05
REST = 4  # seconds before each measurement: virtual disks are faster for a while after they had nothing to do
READ_ALL = "find {path} -type f -print0 | xargs -0 cat >/dev/null"
FIEMAP = 0xC020660B  # linux/fs.h: FS_IOC_FIEMAP


def run(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)


def drop_caches(which="3"):
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text(which)


def warm_memory(size):
    """A virtual machine's host takes back memory that was free for a while, and it is slow when it is used again."""
    size = min(max(size, mmap.PAGESIZE), os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE // 2)
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        # Small pages would leave it slow: then floor and job take twice as long.
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
        for offset in range(0, len(memory), mmap.PAGESIZE):
            memory[offset] = 1


class Volume:
    """A filesystem in a file that can be put back to its first state."""

    def __init__(self, directory, kind):
        self.kind = kind
        self.directory = directory
        self.image = directory / "image"
        self.original = directory / "original"
        self.path = directory / "mount"
        self.path.mkdir()
        self.size = 0
        self.extents = 0.0

    def fill(self, name, mib):
        with open(self.original, "wb") as image:
            image.truncate((mib * 3 + 1024) << 20)
        run(f"mkfs.{self.kind}", "-q", "-f", self.original)
        run("mount", "-o", "loop", self.original, self.path)
        try:
            duplicate = int(run(REPOSITORY / "tests/bench/sets.py", name, self.path, mib).stdout)
            self.size = sum(file.stat().st_blocks * 512 for file in self.files())
            self.extents = self.extents_per_file()
            return duplicate
        finally:
            self.unmount(self.original)

    def mount_cold(self):
        run("cp", "--sparse=always", self.original, self.image)
        self.mount_again()

    def mount_cached(self):
        self.mount_cold()
        run("sh", "-c", READ_ALL.format(path=self.path))
        # The times of access, which the job would have to write.
        run("sync", "-f", self.path)

    def mount_again(self):
        drop_caches()
        run("mount", "-o", "loop", self.image, self.path)
        # The files are cached, and once more what holds the filesystem.
        warm_memory(3 * self.size)

    def unmount(self, image=None):
        subprocess.run(["umount", str(self.path)], stderr=subprocess.DEVNULL)
        # A mount namespace that somebody made meanwhile may hold it for longer.
        for _ in range(600):
            if not run("losetup", "-j", image or self.image).stdout:
                return
            time.sleep(0.1)
        sys.exit(f"scan.py: {image or self.image} is still mounted somewhere")

    def free(self):
        run("sync", "-f", self.path)
        stat = os.statvfs(self.path)
        return stat.f_bfree * stat.f_frsize

    def files(self):
        return (path for path in self.path.rglob("*") if path.is_file())

    def extents_per_file(self):
        files = extents = 0
        for path in self.files():
            # With no room for extents the kernel only counts them.
            argument = bytearray(struct.pack("=QQLLLL", 0, (1 << 64) - 1, 0, 0, 0, 0))
            with open(path, "rb") as file:
                fcntl.ioctl(file, FIEMAP, argument)
            extents += struct.unpack("=QQLLLL", argument)[3]
            files += 1
        return extents / max(files, 1)

    def bytes_read(self):
        device = run("findmnt", "-no", "SOURCE", self.path).stdout.decode().strip()
        return int(pathlib.Path(f"/sys/block/{os.path.basename(device)}/stat").read_text().split()[2]) * 512


class Memory:
    """A control group with little memory for what is run in it; without one, the page cache is dropped five times a second."""

    def __init__(self, mib):
        self.bytes = mib << 20
        self.how = ""
        self.group = None
        for top, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            group = pathlib.Path(top) / f"cowherd-bench-{os.getpid()}"
            try:
                group.mkdir()
                (group / limit).write_text(str(self.bytes))
                self.group, self.how = group, f"a control group of {mib} MiB"
                return
            except OSError:
                if group.is_dir():
                    group.rmdir()
        self.how = "the page cache dropped every 200 ms"
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.drop)

    def drop(self):
        while not self.ended.wait(0.2):
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")

    def __enter__(self):
        if self.group is None:
            self.thread.start()
        return self

    def __exit__(self, *_):
        if self.group is None:
            self.ended.set()
            self.thread.join()
        else:
            self.group.rmdir()

    def enter(self):
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))


def timed(volume, command, enter=None):
    """What a command took, with a sync after it, and its output. GNU time tells the memory: of a process' own child the kernel
    counts also what the process had."""
    usage = volume.directory / "usage"
    begin = time.monotonic()
    process = subprocess.run(["/usr/bin/time", "-q", "-o", usage, "-f", "%U %S %M", "sh", "-c", command], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, preexec_fn=enter)
    run("sync", "-f", volume.path)
    seconds = time.monotonic() - begin
    if process.returncode:
        print(f"scan.py: ended with {process.returncode}: {command}", file=sys.stderr)
    user, system, rss = usage.read_text().split()
    return {"job": seconds, "cpu": float(user) + float(system), "rss": int(rss) / 1024, "output": process.stdout}


def measure(volume, command, after=lambda row: {}, enter=None, mount=Volume.mount_cold):
    """The same and what it freed, from a cold start if not said otherwise."""
    mount(volume)
    time.sleep(REST)
    try:
        free = volume.free()
        read = volume.bytes_read()
        row = timed(volume, command, enter)
        row.update(freed=volume.free() - free, read=volume.bytes_read() - read, extents=volume.extents_per_file())
        row.update(after(row))
        return row
    finally:
        volume.unmount()


def medians(results):
    return {key: statistics.median_low(r[key] for r in results) for key in results[0] if key != "output"}


def engine(volume, *flags):
    return f"{ENGINE} {OPTIONS} {' '.join(flags)} {volume.path}"


def told(row):
    """The engine's own seconds, of all runs: it is part of a server, which runs already when a job comes."""
    runs = [json.loads(line) for line in row["output"].splitlines()]
    if not runs:
        sys.exit("scan.py: scan_engine failed")
    return {"job": sum(own["seconds"] for own in runs)}


def twice(volume):
    state = volume.directory / "state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    command = engine(volume, "--state", str(state))
    again = lambda: told(timed(volume, command))["job"]
    first = measure(volume, command, lambda row: {**told(row), "again": again()})
    volume.mount_again()
    try:
        return {**first, "again_cold": again()}
    finally:
        volume.unmount()


def dropped(volume):
    """The page cache is dropped between finding and the job, which finds again; both count."""
    script = f"{engine(volume, '--dry_run')} && sync && echo 1 >/proc/sys/vm/drop_caches && {engine(volume)}"
    return measure(volume, script, told)


def larger(volume, mib):
    """The engine where there is less memory than data."""
    with Memory(mib) as memory:
        return {**measure(volume, engine(volume, "--index_mib", "16"), told, memory.enter), "how": memory.how}


def served_beside_engine(volume):
    """With the files in the page cache: the disk's moods are more than what it costs to be served."""
    alone = measure(volume, engine(volume), told, mount=Volume.mount_cached)["job"]
    return {"part": served(volume) / alone}


def served(volume):
    """Seconds of the same job by a controller and a node, from creating it to its end."""
    sys.path.insert(0, str(REPOSITORY / "tests/integration"))
    import cluster

    servers = []

    def server(program, *flags):
        made = cluster.Server(volume.directory / f"{program.name}.log", program, *flags)
        servers.append(made)
        return made.start()

    volume.mount_cached()
    try:
        store = volume.directory / "jobs.db"
        for file in volume.directory.glob("jobs.db*"):
            file.unlink()
        node = server(cluster.NODE, "--name=one", f"--root=bench={volume.path}", "--max_io_pressure=0", "--io_class=none")
        controller = server(cluster.CONTROLLER, f"--store={store}", f"--node=one={node.address}", "--probe_interval=0.2s")
        ask = lambda *more: subprocess.run([cluster.COWHERD, *more, "--controller", controller.address], stdout=subprocess.PIPE,
                                           stderr=subprocess.DEVNULL, check=True, timeout=600).stdout
        cluster.wait_for("the node is up", lambda: b"NODE_UP" in ask("-o", "json", "node", "list"))
        time.sleep(REST)
        answer = ask("-o", "json", "job", "create", "--all", "--wait", *OPTIONS.split())
        job = json.loads(answer.splitlines()[-1])
        # As the engine's own words, these leave out how long programs take to begin.
        at = lambda what: datetime.datetime.fromisoformat(job[what]).timestamp()
        return at("ended") - at("created")
    finally:
        for made in reversed(servers):
            made.kill()
        volume.unmount()


def bench(volume, runs, peers, arguments, name):
    works = {
        "floor": lambda: measure(volume, READ_ALL.format(path=volume.path)),
        "find": lambda: measure(volume, engine(volume, "--dry_run"), told),
        "cowherd": lambda: twice(volume),
    }
    if (volume.kind, name) in DROPPED:
        works["dropped"] = lambda: dropped(volume)
    if (volume.kind, name) in LARGER:
        works["larger"] = lambda: larger(volume, max(64, arguments.mib // 8))
    if arguments.service:
        works["served"] = lambda: served_beside_engine(volume)
    for peer, command in peers.items():
        works[peer] = functools.partial(measure, volume, command.format(path=volume.path, elsewhere=volume.directory))
    # In turns: disks are faster at one time than at another.
    turns = [{what: work() for what, work in works.items()} for _ in range(runs)]
    rows = {what: medians([turn[what] for turn in turns]) for what in works}
    find = rows.pop("find")
    rows["cowherd"].update(find=find["job"], found=find["read"])
    for what in ("dropped", "larger", "served"):
        if what in rows:
            rows["cowherd"][what] = rows.pop(what)
    return rows


def bars(kind, name, rows, duplicate, size):
    """(what, measured, bar, met) of each bar that the set has."""
    own, floor = rows["cowherd"], rows["floor"]["job"]
    most = lambda what, value, bar, form="{:.2f}": (what, form.format(value), "<= " + form.format(bar), value <= bar)
    least = lambda what, value, bar: (what, f"{value:.3f}", f">= {bar:.3f}", value >= bar)
    peers = {peer: row for peer, row in rows.items() if peer not in ("floor", "cowherd")}
    if duplicate:
        if (kind, name) in FREED:
            yield least("freed / duplicate", own["freed"] / duplicate, FREED[kind, name])
        if peers:
            # A thousandth: metadata comes and goes.
            best = max(row["freed"] for row in peers.values()) / duplicate
            what, value, bar, _ = least("freed / duplicate, best peer", own["freed"] / duplicate, best)
            yield what, value, bar, own["freed"] / duplicate >= best - 0.001
    if kind == "btrfs":
        yield most("finding / floor", own["find"] / floor, FIND)
        yield most("data read by finding / set", own["found"] / size, FOUND_BY_READING.get(name, 0.005), "{:.4f}")
    if (kind, name) in JOB:
        yield most("whole job / floor", own["job"] / floor, JOB[kind, name])
    rivals = [row["job"] for row in peers.values() if row["freed"] > 0 and row["freed"] >= own["freed"] * 0.99]
    if rivals:
        yield most("whole job / fastest peer that frees as much", own["job"] / min(rivals), 1)
    if "dropped" in own:
        yield most("job / floor, cache dropped after finding", own["dropped"]["job"] / floor, DROPPED[kind, name])
    if "larger" in own:
        yield most(f"job / floor, data larger than memory ({own['larger']['how']})", own["larger"]["job"] / floor, LARGER[kind, name])
    for how, seconds in (("warm", own["again"]), ("cold", own["again_cold"])):
        yield most(f"second run, {how} / first", seconds / own["job"], 0.02, "{:.3f}")
        yield most(f"second run, {how}, seconds", seconds, 0.3)
    if "served" in own:
        yield most("job by controller and node / engine, files cached", own["served"]["part"], SERVICE)


def main():
    # What was made is taken away also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", default=SETS)
    parser.add_argument("--mib", type=int, default=2000, help="size of a set (default 2000)")
    parser.add_argument("--runs", type=int, default=3, help="medians of so many runs (default 3)")
    parser.add_argument("--filesystem", choices=["btrfs", "xfs"], default="btrfs")
    parser.add_argument("--peers", action="store_true", help="also run the peers that are installed")
    parser.add_argument("--all_peers", action="store_true", help="and duperemove with other options, which takes long")
    parser.add_argument("--service", action="store_true", help="also run the job by a controller and a node")
    arguments = parser.parse_args()
    if os.geteuid() != 0 or not ENGINE.exists() or not shutil.which("/usr/bin/time"):
        sys.exit("scan.py: run as root, after: apt-get install time && bazel build //tests/bench:scan_engine")
    wanted = lambda peer: arguments.all_peers or (arguments.peers and peer not in MANY_PEERS)
    peers = {peer: command for peer, command in PEERS.items() if wanted(peer) and shutil.which(peer.split()[0])}
    kind = arguments.filesystem
    print(f"{kind}, {arguments.mib} MiB a set, median of {arguments.runs}\n")
    print("| set | tool | finding / floor | whole job / floor | read / set | freed / duplicate | extents per file | CPU s | memory MiB |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    judged = []
    with tempfile.TemporaryDirectory(prefix="cowherd-bench.", dir=os.environ.get("COWHERD_TEST_DIR", "/var/tmp")) as top:
        for index, name in enumerate(arguments.sets):
            directory = pathlib.Path(top) / str(index)
            directory.mkdir()
            volume = Volume(directory, kind)
            duplicate = volume.fill(name, arguments.mib)
            rows = bench(volume, arguments.runs, peers, arguments, name)
            floor = rows["floor"]["job"]
            for tool, row in rows.items():
                if tool == "floor":
                    continue
                finding = f"{row['find'] / floor:.2f}" if "find" in row else "–"
                freed = f"{row['freed'] / duplicate:.3f}" if duplicate else "–"
                print(f"| {name} | {tool} | {finding} | {row['job'] / floor:.2f} | {row['read'] / volume.size:.2f} | {freed} | "
                      f"{volume.extents:.1f} → {row['extents']:.1f} | {row['cpu']:.1f} | {row['rss']:.0f} |", flush=True)
            judged += [(name, *bar) for bar in bars(kind, name, rows, duplicate, volume.size)]
            shutil.rmtree(directory)
    print("\n| set | what | measured | bar | |\n|---|---|---|---|---|")
    for name, what, measured, bar, met in judged:
        print(f"| {name} | {what} | {measured} | {bar} | {'met' if met else 'MISSED'} |")


if __name__ == "__main__":
    main()
