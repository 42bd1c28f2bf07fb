#!/usr/bin/env bash
# Installs what building, testing and running cowherd need, from Debian bookworm (12), the release that is supported.
# Versions are Debian's. Does nothing where all is there. Needs root.
#   deploy/install_packages.sh            to build, and to run the quickstart
#   deploy/install_packages.sh --tests    also what the tests need
#   deploy/install_packages.sh --deploy   and what the tests of the image, the manifests and the monitoring need
#   deploy/install_packages.sh --monitoring   to run the quickstart with Prometheus and dashboards
#   deploy/install_packages.sh --dashboards   what the tests need, those that draw the dashboards in a browser too
set -euo pipefail

build=(bazel-bootstrap bazel-platforms bazel-rules-java bazel-rules-proto bazel-skylib build-essential git
  grpc-proto libabsl-dev libbenchmark-dev libcli11-dev libgmock-dev libgoogle-common-protos-java libgrpc++-dev libgtest-dev
  libprotobuf-dev libprotoc-dev libspdlog-dev libsqlite3-dev libssl-dev libxxhash-dev nlohmann-json3-dev prometheus-cpp-dev
  protobuf-compiler protobuf-compiler-grpc)
run=(btrfs-progs curl e2fsprogs mount tzdata util-linux xfsprogs)
tests=(etcd-server iproute2 libfaketime openssl prometheus python3 python3-grpcio python3-protobuf)

deploy=(buildah debootstrap golang-github-masterminds-sprig-dev golang-go golang-k8s-sigs-yaml-dev podman python3-seccomp
  python3-yaml runc systemd)
# Any Node.js will do, Debian's or not.
node=()
command -v npm >/dev/null || node=(nodejs npm)

wanted=("${build[@]}" "${run[@]}")
case ${1:-} in
  --tests) wanted+=("${tests[@]}") ;;
  --deploy) wanted+=("${tests[@]}" "${deploy[@]}" "${node[@]}") ;;
  --monitoring) wanted+=(prometheus "${node[@]}") ;;
  --dashboards) wanted+=("${tests[@]}" chromium optipng pngquant "${node[@]}") ;;
esac

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${ID:-?} ${VERSION_ID:-?}")
[ "$release" = "debian 12" ] || echo "install_packages: made for Debian 12 (bookworm); this is $release" >&2
if [ "$(id -u)" -ne 0 ]; then
  echo "install_packages: run me as root; missing: ${missing[*]}" >&2
  exit 1
fi
echo "installing ${#missing[@]} Debian packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Services that packages bring along (Prometheus) must not start here; policy-rc.d is Debian's way to say so.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  made_policy=yes
fi
status=0
{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
  >"$log" 2>&1 || status=$?
[ -n "$made_policy" ] && rm -f "$policy"
if [ "$status" -ne 0 ]; then
  tail -n 30 "$log" >&2
  echo "install_packages: apt-get failed; see above" >&2
fi
exit "$status"
