#!/usr/bin/env bash
# Runs the unit tests, and as root the kernel tests, under the address and undefined-behaviour sanitizers, and under the
# thread sanitizer those tests that it understands (not those with a gRPC server; see .bazelrc). Takes half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/install_packages.sh --tests
for sanitizers in "asan ubsan" tsan; do
  echo "== $sanitizers"
  configs=()
  for sanitizer in $sanitizers; do configs+=(--config="$sanitizer"); done
  bazel test --noshow_progress "${configs[@]}" -- //tests/...
  [ "$sanitizers" = tsan ] || [ "$(id -u)" -ne 0 ] && continue
  for target in $(bazel query --noshow_progress 'attr(tags, loopfs, tests(//tests/kernel/...))' 2>/dev/null); do
    bazel build --noshow_progress --ui_event_filters=-info "${configs[@]}" "$target"
    "bazel-bin/tests/kernel/${target##*:}" --gtest_brief=1
  done
done
