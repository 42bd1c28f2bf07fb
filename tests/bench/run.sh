#!/usr/bin/env bash
# Measures the kernel's dedupe on loop btrfs and XFS, with cached and uncached data, with and without reading ahead.
# Needs root; drops the machine's page cache. Compare figures within one run only.
set -euo pipefail
cd "$(dirname "$0")/../.."
deploy/install_packages.sh --tests
bazel build --noshow_progress --ui_event_filters=-info //tests/bench:dedupe_speed
bazel-bin/tests/bench/dedupe_speed
