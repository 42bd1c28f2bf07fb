#!/usr/bin/env bash
# Installs, builds and runs every test. Needs root: kernel and integration tests mount filesystems of their own on loop
# devices, and unmount and detach them, also when they fail. Prints a line "N passed, N failed" and fails if any did.
#   tests/run.sh          all
#   tests/run.sh unit     no root needed where the packages are installed
#   tests/run.sh kernel | integration | deploy | faults | quickstart
#   tests/run.sh dashboards    not part of all: a fleet runs for a minute, then a browser draws every panel
set -uo pipefail
cd "$(dirname "$0")/.."
only=${1:-all}

passed=0
failed=0
say() { printf '\n== %s (after %d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }
count() { # NAME COMMAND...: one test
  local name=$1
  shift
  if "$@"; then
    echo "PASS $name"
    passed=$((passed + 1))
  else
    echo "FAIL $name"
    failed=$((failed + 1))
  fi
}
# One test beside one other at most; its output comes when it ends. See gather. Those with the most text come
# first: they take the longest, as a rule, and one alone at the end would leave a processor with nothing to do.
started=0
start() { # NAME COMMAND...
  local name=$1 at=$COWHERD_TEST_DIR/test.$((started++))
  shift
  rm -f "$at.result" # of a test before the last gather
  while [ "$(jobs -pr | wc -l)" -ge 2 ]; do wait -n; done
  set -m  # a process group of its own
  {
    if "$@" >"$at.output" 2>&1; then result=PASS; else result=FAIL; fi
    (
      flock 9
      cat "$at.output"
      echo "$result $name" | tee "$at.result"
    ) 9>"$COWHERD_TEST_DIR/output.lock"
  } &
  set +m
}
gather() { # waits for all that were started, and counts them
  wait
  for ((; started > 0; started--)); do
    if grep -qs '^PASS' "$COWHERD_TEST_DIR/test.$((started - 1)).result"; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
    fi
  done
}
wants() { [ "$only" = all ] || [ "$only" = "$1" ]; }
finish() {
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

case $only in all | unit | kernel | integration | deploy | faults | quickstart | dashboards) ;; *)
  echo "usage: tests/run.sh [unit|kernel|integration|deploy|faults|quickstart|dashboards]" >&2
  exit 2
  ;;
esac

# Everything that tests mount lies below here; what a killed test left is swept.
COWHERD_TEST_DIR=$(mktemp -d "${COWHERD_TEST_DIR:-/var/tmp}/cowherd-test.XXXXXX") || exit 1
export COWHERD_TEST_DIR
chmod 711 "$COWHERD_TEST_DIR" # servers that are not root run below it
sweep() {
  for job in $(jobs -pr); do kill -- "-$job"; done
  wait
  awk -v top="$COWHERD_TEST_DIR/" 'index($2, top) == 1 { print $2 }' /proc/self/mounts | sort -r |
    while read -r mount; do umount "$mount"; done
  losetup --noheadings --output NAME,BACK-FILE 2>/dev/null |
    awk -v top="$COWHERD_TEST_DIR/" 'index($2, top) == 1 { print $1 }' |
    while read -r device; do losetup --detach "$device"; done
  rm -rf --one-file-system "$COWHERD_TEST_DIR"
}
trap sweep EXIT
trap 'exit 130' INT TERM

say "Installing Debian packages (only those missing)"
deploy/install_packages.sh --tests || { failed=1; finish; }

say "Building everything"
build=(bazel build --noshow_progress --ui_event_filters=-info)
"${build[@]}" -- //... || { failed=1; finish; }

if wants unit; then
  say "Unit tests"
  # One line a test target: "//tests/...:name  PASSED in 0.1s".
  results=$(bazel test --noshow_progress --test_summary=short -- //... 2>&1)
  status=$?
  echo "$results" | grep -E '^//.*(PASSED|FAILED|TIMEOUT|NO STATUS)|^(FAIL|ERROR):|\[  FAILED|Failure$' || true
  unit_passed=$(echo "$results" | grep -cE '^//[^ ]+ +(\(cached\) )?PASSED')
  unit_failed=$(echo "$results" | grep -cE '^//[^ ]+ .*(FAILED|TIMEOUT|NO STATUS)')
  [ "$status" -ne 0 ] && [ "$unit_failed" -eq 0 ] && { echo "$results" | tail -n 40; unit_failed=1; }
  passed=$((passed + unit_passed))
  failed=$((failed + unit_failed))
fi

if wants kernel; then
  say "Kernel tests, on btrfs and XFS"
  targets=$(bazel query --noshow_progress 'attr(tags, loopfs, tests(//tests/kernel/...))' 2>/dev/null)
  [ -n "$targets" ] || { echo "FAIL no kernel tests found"; failed=$((failed + 1)); }
  # shellcheck disable=SC2086  # one word a target
  "${build[@]}" -- $targets || failed=$((failed + 1))
  for file in $(ls -S tests/kernel/*_test.cc); do
    name=$(basename "$file" .cc)
    grep -q ":$name\$" <<<"$targets" || continue
    start "kernel/$name" "bazel-bin/tests/kernel/$name" --gtest_brief=1
  done
  [ "$started" -eq "$(wc -w <<<"$targets")" ] || { echo "FAIL not each kernel test has a file of its name"; failed=$((failed + 1)); }
  gather
fi

if wants integration; then
  say "Integration tests: real processes, real filesystems"
  # These measure, and stand alone.
  for name in gentle_test.py leader_test.py; do
    count "integration/$name" /usr/bin/python3 -B "tests/integration/$name"
  done
  for file in $(ls -S tests/integration/*_test.py); do
    name=$(basename "$file")
    case $name in gentle_test.py | leader_test.py) continue ;; esac
    start "integration/$name" /usr/bin/python3 -B "$file"
  done
  gather
fi

if wants deploy; then
  say "Image, packages, Kubernetes manifests, rules and dashboards"
  deploy/install_packages.sh --deploy || { failed=1; finish; }
  (cd tests/deploy && npm install --silent --no-save) || { failed=1; finish; }
  for file in tests/deploy/*_test.py; do
    start "deploy/$(basename "$file")" /usr/bin/python3 -B "$file"
  done
  for file in tests/deploy/*_test.mjs; do
    start "deploy/$(basename "$file")" node --test "$file"
  done
  gather
fi

if wants faults; then
  say "Fault tests: processes killed, stopped, cut off and filled up"
  count faults/checker_test /usr/bin/python3 -B tests/faults/checker_test.py
  count faults /usr/bin/python3 -B tests/faults/run.py --seconds 120 --histories "${COWHERD_HISTORIES:-/var/tmp}"
fi

if wants quickstart; then
  say "Quickstart"
  count quickstart tests/integration/quickstart_test.sh
fi

if [ "$only" = dashboards ]; then
  say "Dashboards: every query, every panel in a browser, and the quickstart that shows them"
  deploy/install_packages.sh --dashboards || { failed=1; finish; }
  for packages in deploy/monitoring/page tests/deploy/dashboards; do
    (cd "$packages" && npm install --silent --no-save) || { failed=1; finish; }
  done
  for file in tests/deploy/dashboards/*_test.py; do
    count "dashboards/$(basename "$file")" /usr/bin/python3 -B "$file"
  done
fi

finish
