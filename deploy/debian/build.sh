#!/usr/bin/env bash
# Makes three Debian packages of what Bazel built: cowherd-node, cowherd-controller and cowherd (the command line).
# The same commit gives the same bytes.
#   deploy/debian/build.sh DIRECTORY     puts the packages there; build first: bazel build //...
set -euo pipefail
[ $# -eq 1 ] || { sed -n 's/^# \{0,1\}//p' "$0" | tail -n +2 >&2; exit 2; }
mkdir -p "$1"
output=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^.*kVersion\[\] = "\(.*\)".*$/\1/p' server/base/version.h)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# What the program links with, as a Depends line.
depends() { # PROGRAM
  mkdir -p "$work/shlibs/debian"
  printf 'Source: cowherd\n\nPackage: cowherd\nArchitecture: any\n' >"$work/shlibs/debian/control"
  (cd "$work/shlibs" && dpkg-shlibdeps -O "$1" 2>/dev/null) | sed 's/^shlibs:Depends=//'
}

package() { # NAME PROGRAM DESCRIPTION MORE_DEPENDS
  local root=$work/$1
  install -D --strip -m 755 "$2" "$root/usr/bin/$1"
  install -D -m 644 LICENSE "$root/usr/share/doc/$1/copyright"
  mkdir "$root/DEBIAN"
  local unit=deploy/systemd/$1.service
  if [ -e "$unit" ]; then
    local config=${1#cowherd-}.ini
    install -D -m 644 "$unit" "$root/lib/systemd/system/$1.service"
    install -D -m 644 "deploy/systemd/$config" "$root/etc/cowherd/$config"
    echo "/etc/cowherd/$config" >"$root/DEBIAN/conffiles"
    # Installed is not started: a node without roots has nothing to serve.
    local users=deploy/systemd/$1.sysusers
    [ ! -e "$users" ] || install -D -m 644 "$users" "$root/usr/lib/sysusers.d/$1.conf"
    # An upgrade goes on with the new program where the old one ran.
    printf '#!/bin/sh\nset -e\n[ -d /run/systemd/system ] || exit 0\nsystemd-sysusers\nsystemctl daemon-reload\n%s\n' \
      "[ -z \"\$2\" ] || systemctl try-restart $1.service || true" >"$root/DEBIAN/postinst"
    printf '#!/bin/sh\nset -e\n[ "$1" = upgrade ] || [ ! -d /run/systemd/system ] || systemctl stop %s.service\n' "$1" \
      >"$root/DEBIAN/prerm"
    chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
  fi
  cat >"$root/DEBIAN/control" <<CONTROL
Package: $1
Version: $version
Architecture: $(dpkg --print-architecture)
Section: admin
Priority: optional
Maintainer: cowherd <cowherd@example.org>
Installed-Size: $(du -sk "$root" | cut -f1)
Depends: $(depends "$root/usr/bin/$1")$4
Description: $3
CONTROL
  find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group --build "$root" "$output" >/dev/null
  echo "$output/${1}_${version}_$(dpkg --print-architecture).deb"
}

package cowherd-node bazel-bin/server/node/cowherd-node "shares duplicate data on btrfs and XFS, storage node" ""
package cowherd-controller bazel-bin/server/controller/cowherd-controller \
  "schedules deduplication jobs over storage nodes" ", tzdata"
package cowherd bazel-bin/client/cowherd "command line of cowherd's nodes and controllers" ""
