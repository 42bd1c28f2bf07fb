#!/usr/bin/env bash
# cowherd's main job on real data, on this machine: installs and builds, makes a btrfs filesystem in a file, fills it with
# duplicate data, starts a node and a controller, runs a job, shows the space won and the metrics, and cleans up.
# Needs root (loop device, mount, sharing) on Debian 12, and some 2 GB of disk.
#   deploy/quickstart.sh                 once, then cleans up
#   deploy/quickstart.sh --monitoring    also starts Debian's Prometheus and a page with the dashboards, which needs no Grafana;
#                                        data and jobs go on until Ctrl-C. 700 MB more, of npm's packages
set -euo pipefail
cd "$(dirname "$0")/.."

monitoring=
case ${1:-} in
  "") ;;
  --monitoring) monitoring=yes ;;
  -h | --help)
    sed -n '2,/^set /{ /^set /d; s/^# \{0,1\}//; p }' "$0"
    exit 0
    ;;
  *)
    echo "usage: deploy/quickstart.sh [--monitoring | --help]" >&2
    exit 2
    ;;
esac

say() { printf '\n== %s\n' "$*"; }

if [ "$(id -u)" -ne 0 ]; then
  echo "quickstart: run me as root: I mount a filesystem and share storage in it" >&2
  exit 1
fi

work= node_pid= controller_pid= prometheus_pid= page_pid=
clean_up() {
  status=$?
  set +e
  trap '' PIPE
  pids="$page_pid $prometheus_pid $controller_pid $node_pid"
  for pid in $pids; do kill "$pid" 2>/dev/null; done
  # All end by themselves within their grace period; not for ever, though.
  for pid in $pids; do timeout 30 tail --pid="$pid" -f /dev/null || kill -9 "$pid"; done
  if [ -n "$work" ] && mountpoint -q "$work/data" && ! umount "$work/data"; then
    echo "quickstart: cannot unmount $work/data; left as it is" >&2
    exit 1
  fi
  if [ "$status" -ne 0 ] && [ -n "$work" ]; then
    echo "quickstart: failed; the servers' last words:" >&2
    tail -n 5 "$work"/*.log >&2
  fi
  [ -n "$work" ] && rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP PIPE

# What a server's log tells once it serves: the part that sed's expression finds.
await() { # LOG EXPRESSION
  for _ in $(seq 300); do
    said=$(sed -n "s/.*$2.*/\1/p" "$1")
    [ -n "$said" ] && { echo "$said"; return; }
    sleep 0.1
  done
  echo "quickstart: no server within 30 s, says $1" >&2
  return 1
}
port_of() { # LOG KEY
  await "$1" "\"msg\":\"serving\".*\"$2\":\([0-9]*\)"
}

say "Installing Debian packages (only those missing)"
deploy/install_packages.sh ${monitoring:+--monitoring}
if [ -n "$monitoring" ]; then
  say "Installing the page's packages from npm"
  (cd deploy/monitoring/page && npm install --no-save --silent)
fi

say "Building"
bazel build --noshow_progress --ui_event_filters=-info //:cowherd //:cowherd-node //:cowherd-controller
cowherd=$PWD/bazel-bin/client/cowherd

say "Making a btrfs filesystem in a file, with duplicate data"
work=$(mktemp -d)
truncate -s 1G "$work/image"
mkfs.btrfs -q "$work/image" >/dev/null 2>&1
mkdir "$work/data"
mount -o loop "$work/image" "$work/data"
head -c 96M /dev/urandom >"$work/data/base.img"
for copy in 1 2 3; do
  cp --reflink=never "$work/data/base.img" "$work/data/vm$copy.img"
done
mkdir "$work/data/backup"
# The same data 12 KiB further on: duplicates are found at any block alignment.
{ head -c 12K /dev/urandom; dd if="$work/data/base.img" bs=1M count=32 status=none; } |
  dd of="$work/data/backup/shifted.img" bs=64K iflag=fullblock status=none
sync -f "$work/data"
(cd "$work/data" && find . -type f -exec sha256sum {} + | sort) >"$work/checksums"
df -h --output=source,fstype,size,used,avail "$work/data"

say "Starting a node and a controller"
bazel-bin/server/node/cowherd-node --root "data=$work/data" --name demo-node --state_dir "$work/state" \
  --listen 127.0.0.1:0 --metrics_listen 127.0.0.1:0 2>"$work/node.log" &
node_pid=$!
node=127.0.0.1:$(port_of "$work/node.log" port)
node_metrics=127.0.0.1:$(port_of "$work/node.log" metrics_port)
bazel-bin/server/controller/cowherd-controller --store "$work/jobs.db" --node "demo-node=$node" --probe_interval 1s \
  --listen 127.0.0.1:0 --metrics_listen 127.0.0.1:0 2>"$work/controller.log" &
controller_pid=$!
COWHERD_CONTROLLER=127.0.0.1:$(port_of "$work/controller.log" port)
export COWHERD_CONTROLLER
controller_metrics=127.0.0.1:$(port_of "$work/controller.log" metrics_port)
"$cowherd" node list

if [ -n "$monitoring" ]; then
  say "Starting Prometheus and the dashboards"
  cat >"$work/prometheus.yaml" <<EOF
global: {scrape_interval: 2s, evaluation_interval: 2s}
rule_files: ["$PWD/deploy/monitoring/rules/*.yaml"]
scrape_configs:
  - job_name: cowherd-node
    static_configs: [{targets: ["$node_metrics"], labels: {cluster: demo, instance: demo-node}}]
  - job_name: cowherd-controller
    static_configs: [{targets: ["$controller_metrics"], labels: {cluster: demo, instance: demo-controller}}]
EOF
  prometheus --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/prometheus" --web.listen-address=127.0.0.1:0 \
    2>"$work/prometheus.log" &
  prometheus_pid=$!
  prometheus=http://$(await "$work/prometheus.log" 'msg="Listening on" address=\([0-9.:]*\)')
  node deploy/monitoring/page/serve.mjs --prometheus "$prometheus" >"$work/page.log" 2>&1 &
  page_pid=$!
  page=$(await "$work/page.log" 'dashboards: \(http[^ ]*\)')
  # What happens before Prometheus has looked once is no increase to it.
  for _ in $(seq 100); do
    curl -sS "$prometheus/api/v1/query?query=sum(up)" | grep -q ',"2"\]' && break
    sleep 0.1
  done
fi

say "Running a job on all nodes: cowherd job create --all --wait"
"$cowherd" job create --all --display_name quickstart --wait

say "The space won"
df -h --output=source,fstype,size,used,avail "$work/data"
(cd "$work/data" && sha256sum --quiet -c "$work/checksums") && echo "every file still has the same content"

say "The node's metrics (http://$node_metrics/metrics)"
curl -sS "http://$node_metrics/metrics" | grep -E '^cowherd_node_(dedupe_(requested|accepted|won)|scan_bytes|volume_free)'
say "The controller's metrics (http://$controller_metrics/metrics)"
curl -sS "http://$controller_metrics/metrics" | grep -E '^cowherd_controller_(jobs_finished|.*bytes|nodes)'

if [ -n "$monitoring" ]; then
  say "Going on until Ctrl-C: copies come, jobs find them"
  echo "dashboards: ${page}d/cowherd-overview?from=now-5m&to=now"
  echo "Prometheus: $prometheus"
  trap 'exit 0' INT TERM HUP
  for round in $(seq 1000000); do
    # Five copies that come again and again, and data of its own that nothing wins back.
    head -c 48M "$work/data/base.img" >"$work/data/night$((round % 5)).img"
    [ "$round" -gt 200 ] || head -c 1M /dev/urandom >>"$work/data/new.img"
    sync -f "$work/data"
    "$cowherd" job create --all --display_name "round-$round" --bytes_per_second 8m --wait >"$work/job.log" 2>&1 ||
      cat "$work/job.log" >&2
    sleep 3
  done
fi

say "Cleaning up"
