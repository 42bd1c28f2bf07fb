#!/usr/bin/python3
"""Makes deploy/monitoring/screenshots: a fleet runs for some minutes, then every dashboard is drawn.

    tests/deploy/dashboards/screenshots.py [SECONDS]       default: 360. As root; needs what dashboards_test.py needs.
"""

import pathlib
import subprocess
import sys
import time

import fleet
from dashboards_test import node

TO = fleet.REPOSITORY / "deploy/monitoring/screenshots"


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 360
    demo = fleet.Fleet()
    demo.setUp()
    try:
        begun = time.time()
        demo.begin(scrape="2s", size_mib=4096)
        fleet.Story(demo, seconds, pace="12m", mib=16).tell()
        page = demo.start_page()
        TO.mkdir(exist_ok=True)
        node("draw.mjs", page, "--from", int(begun * 1000), "--to", int(time.time() * 1000), "--screenshots", TO)
        for picture in sorted(TO.glob("*.png")):
            subprocess.run(["pngquant", "--force", "--skip-if-larger", "--output", picture, picture], check=False)
            subprocess.run(["optipng", "-quiet", "-o2", picture], check=True)
            print(f"{picture.relative_to(fleet.REPOSITORY)}: {picture.stat().st_size >> 10} KiB")
    finally:
        demo.doCleanups()


if __name__ == "__main__":
    main()
