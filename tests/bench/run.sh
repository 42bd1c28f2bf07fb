#!/usr/bin/env bash
# Measures, as root; drops the machine's page cache. Compare figures within one run only.
#   tests/bench/run.sh dedupe    the kernel's dedupe, cached and not, with and without reading ahead
#   tests/bench/run.sh index     what the index of a scan finds on a filesystem of 1 TiB
#   tests/bench/run.sh scan ...  whole scans beside duperemove and jdupes; options as tests/bench/scan.py --help
set -euo pipefail
cd "$(dirname "$0")/../.."
what=${1:-}
case $what in dedupe | index | scan) shift ;; *)
  sed -n 's/^# \{0,1\}//p' "$0" | tail -n +2 >&2
  exit 2
  ;;
esac
deploy/install_packages.sh --tests
declare -A program=([dedupe]=dedupe_speed [index]=index_scale [scan]=scan_engine)
bazel build --noshow_progress --ui_event_filters=-info "//tests/bench:${program[$what]}"
if [ "$what" = scan ]; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends duperemove jdupes >/dev/null
  exec tests/bench/scan.py --peers "$@"
fi
exec "bazel-bin/tests/bench/${program[$what]}" "$@"
