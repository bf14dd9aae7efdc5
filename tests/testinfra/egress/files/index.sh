#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# index.sh FOLDER LABEL CODENAME: makes a flat repository of the packages there.
set -eu
cd "$1"
for file in *.deb; do
    dpkg-deb --field "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
done >Packages
{
    printf 'Origin: Debian\nLabel: %s\nSuite: lab\nCodename: %s\n' "$2" "$3"
    printf 'Date: %s\nSHA256:\n' "$(LC_ALL=C date --utc '+%a, %d %b %Y %H:%M:%S UTC')"
    printf ' %s %s Packages\n' "$(sha256sum Packages | cut -d' ' -f1)" "$(stat -c %s Packages)"
} >Release
