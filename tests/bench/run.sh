#!/usr/bin/env bash
# Measures, as root; drops the machine's page cache. Each part prints tables in Markdown that say which bars are met.
# Compare figures within one run only.
#   tests/bench/run.sh all [OPTION...]    everything; options as those of scan, an hour or two with the defaults. Goes on
#                                         after a part that fails, as index and failover do when they miss a bar
#   tests/bench/run.sh scan [OPTION...]   whole scans beside Debian's peers; options as tests/bench/scan.py --help
#   tests/bench/run.sh service [RUNS [FILESYSTEM]]  DedupeRanges and the scan's sharing beside the bare ioctl
#   tests/bench/run.sh latency [OPTION...]  a foreground reader beside a job; options as tests/bench/latency.py --help
#   tests/bench/run.sh index [TIB [MIB [FILES]]]  memory of scans of 1 TiB and of a million small files, and what they find
#   tests/bench/run.sh fleet [NODES [TASKS [DIRECTORY]]]  the controller over a simulated fleet: store, scheduler, memory
#   tests/bench/run.sh failover [OPTION...]  how long a thousand nodes wait when their leader goes, and for a cancel
#   tests/bench/run.sh stores [BATCH...]  changes of tasks that the controller's stores take: SQLite, etcd with three members
#   tests/bench/run.sh dedupe             the kernel's dedupe, cached and not, with and without reading ahead
set -euo pipefail
cd "$(dirname "$0")/../.."
what=${1:-}
case $what in all | scan | service | latency | index | fleet | failover | stores | dedupe) shift ;; *)
  sed -n 's/^# \{0,1\}//p' "$0" | tail -n +2 >&2
  exit 2
  ;;
esac
deploy/install_packages.sh --tests
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends duperemove jdupes rmlint time >/dev/null
bazel build --noshow_progress --ui_event_filters=-info //tests/bench:{dedupe_speed,fleet,fleet_nodes,index_scale,scan_engine,service_speed,store_speed} \
  //server/node:cowherd-node //server/controller:cowherd-controller //client:cowherd
bin=bazel-bin/tests/bench
part() { # PART OPTION...
  local part=$1
  shift
  case $part in
    scan) tests/bench/scan.py --peers "$@" ;;
    service) $bin/service_speed "$PWD/bazel-bin/server/node/cowherd-node" "$@" ;;
    latency) tests/bench/latency.py "$@" ;;
    index) $bin/index_scale "$@" ;;
    fleet) $bin/fleet "$@" ;;
    failover) tests/bench/failover.py "$@" ;;
    stores) $bin/store_speed /var/tmp "$@" ;;
    dedupe) $bin/dedupe_speed "$@" ;;
  esac
}
if [ "$what" != all ]; then
  part "$what" "$@"
  exit
fi
status=0
for filesystem in btrfs xfs; do
  printf '\n## Scans, '
  part scan --service --filesystem $filesystem "$@" || status=1
done
printf '\n## DedupeRanges and sharing\n\n'
part service || status=1
printf '\n## A reader beside a job\n\n'
part latency || status=1
printf '\n## A large filesystem\n\n'
part index 2>/dev/null || status=1
printf '\n## A simulated fleet\n\n'
part fleet || status=1
printf '\n## A leader that goes\n\n'
part failover || status=1
printf '\n## Stores of the controller\n\n'
part stores || status=1
exit $status
