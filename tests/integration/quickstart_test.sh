#!/usr/bin/env bash
# Runs deploy/quickstart.sh as a new user would, and checks what it says and leaves behind.
set -uo pipefail
cd "$(dirname "$0")/../.."
before=$(losetup --all --noheadings | wc -l)
output=$(deploy/quickstart.sh 2>&1)
status=$?
echo "$output"
complain() {
  echo "quickstart_test: $*" >&2
  exit 1
}
[ "$status" -eq 0 ] || complain "exit code $status"
# Three copies of 96 MiB come back, and the shifted 32 MiB.
won=$(echo "$output" | sed -n 's/^cowherd_node_dedupe_won_bytes{volume="data"} \([0-9.e+]*\)$/\1/p')
awk -v won="${won:-0}" 'BEGIN { exit !(won > 310 * 1048576 && won < 330 * 1048576) }' ||
  complain "won ${won:-nothing}, not about 320 MiB"
echo "$output" | grep -q '^every file still has the same content' || complain "contents were not checked"
echo "$output" | grep -q '^cowherd_controller_jobs_finished_total{outcome="succeeded"} 1' || complain "no job counted"
[ "$(losetup --all --noheadings | wc -l)" -eq "$before" ] || complain "left a loop device"
