#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# package.sh FOLDER NAME VERSION: builds an empty package there.
set -eu
tree=$(mktemp -d)
mkdir -p "$tree/DEBIAN" "$1"
printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: lab <lab@example.org>\nDescription: a test\n' \
    "$2" "$3" >"$tree/DEBIAN/control"
chmod 0755 "$tree" "$tree/DEBIAN"
dpkg-deb --build --root-owner-group "$tree" "$1/$2_$3_all.deb" >/dev/null
rm -rf "$tree"
