#!/usr/bin/env bash
# Builds the container image from a Bazel build on this machine, with buildah.
#   deploy/container/build.sh [TAG [BASE]]     TAG: localhost/cowherd:VERSION by default; BASE: debian:bookworm-slim
set -euo pipefail
cd "$(dirname "$0")/../.."
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
deploy/debian/build.sh "$packages" >/dev/null
version=$(dpkg-deb --field "$packages"/cowherd-node_*.deb Version)
tag=${1:-localhost/cowherd:$version}
when=$(git log -1 --format=%ct)
buildah build --isolation=chroot --timestamp="$when" --file=deploy/container/Dockerfile --tag="$tag" \
  --build-arg=BASE="${2:-debian:bookworm-slim}" --build-arg=VERSION="$version" \
  --build-arg=REVISION="$(git rev-parse HEAD)" --build-arg=CREATED="$(date --utc --date="@$when" +%Y-%m-%dT%H:%M:%SZ)" "$packages"
echo "built $tag"
