#!/usr/bin/python3
"""Makes a set of test data, the same for the same seed.  sets.py SET DIRECTORY [MEGABYTES]

copies      whole files, each several times, 4 KiB to 64 MiB
smallfiles  files of 1 to 64 KiB, about half of them copies
vmimages    images that share most 128 KiB regions, with 4 KiB blocks changed and regions shifted
sparse      holes, zeros, blocks in repeated patterns, preallocated stretches
unique      nothing twice

Prints the duplicate bytes at a granularity of 4 KiB as one number: what a perfect tool frees.
"""

import os
import random
import sys

BLOCK = 4096
KIB = 1024
MIB = 1024 * KIB


class Set:
    def __init__(self, directory, seed):
        self.directory = directory
        self.random = random.Random(seed)
        self.seen = set()
        self.duplicate = 0

    def data(self, size):
        return self.random.randbytes(size)

    def write(self, name, chunks):
        """Writes one file and counts the blocks that were there before. A chunk that is a number is a hole, one that is
        negative is storage reserved and not written."""
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            for chunk in chunks:
                if isinstance(chunk, int):
                    if chunk < 0:
                        file.flush()
                        os.posix_fallocate(file.fileno(), file.tell(), -chunk)
                    file.seek(abs(chunk), os.SEEK_CUR)
                    continue
                file.write(chunk)
                for at in range(0, len(chunk), BLOCK):
                    block = chunk[at : at + BLOCK]
                    key = hash(block)
                    if key in self.seen:
                        self.duplicate += BLOCK
                    else:
                        self.seen.add(key)
            file.truncate(file.tell())


def copies(made, total):
    written = number = 0
    while written < total:
        size = int(2 ** made.random.uniform(12, 26))
        data = made.data(size)
        for copy in range(made.random.choice([1, 1, 2, 3, 4])):
            made.write(f"d{copy}/f{number}", [data])
            written += size
        number += 1


def smallfiles(made, total):
    originals = []
    written = number = 0
    while written < total:
        if originals and made.random.random() < 0.6:
            data = made.random.choice(originals)
        else:
            data = made.data(made.random.randrange(1 * KIB, 64 * KIB))
            originals.append(data)
        made.write(f"d{number % 100}/f{number}", [data])
        written += len(data)
        number += 1


def vmimages(made, total):
    count = 8
    region = 128 * KIB
    regions = total // count // region
    base = [made.data(region) for _ in range(regions)]
    for image in range(count):
        chunks = []
        for data in base:
            luck = made.random.random()
            if luck < 0.08:
                data = made.data(region)
            elif luck < 0.13:
                at = made.random.randrange(0, region // BLOCK) * BLOCK
                data = data[:at] + made.data(BLOCK) + data[at + BLOCK :]
            elif luck < 0.15:
                data = data[BLOCK * 3 :] + made.data(BLOCK * 3)
            chunks.append(data)
        made.write(f"image{image}", chunks)


def sparse(made, total):
    written = number = 0
    patterns = [made.data(BLOCK) for _ in range(16)]
    while written < total:
        chunks = []
        for _ in range(64):
            kind = made.random.randrange(5)
            size = made.random.randrange(1, 64) * BLOCK
            if kind == 0:
                chunks.append(size)
            elif kind == 1:
                chunks.append(bytes(size))
            elif kind == 2:
                chunks.append(made.random.choice(patterns) * (size // BLOCK))
            elif kind == 3:
                chunks.append(-size)
            else:
                chunks.append(made.data(size // 8 + BLOCK - (size // 8) % BLOCK))
            if isinstance(chunks[-1], bytes):
                written += len(chunks[-1])
        made.write(f"sparse{number}", chunks)
        number += 1


def unique(made, total):
    for number in range(total // (64 * MIB)):
        made.write(f"u{number}", (made.data(MIB) for _ in range(64)))


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("copies", "smallfiles", "vmimages", "sparse", "unique"):
        sys.exit(__doc__)
    result = Set(sys.argv[2], seed=sys.argv[1])
    globals()[sys.argv[1]](result, int(sys.argv[3] if len(sys.argv) > 3 else 2000) * MIB)
    os.sync()
    print(result.duplicate)
