# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# What the lab's scripts share: how to say something, how to stop, and how to get a package of this machine.

say() { echo "airlock: $*" >&2; }

# stop WHAT FIX: one sentence with what is wrong and one with what to do
stop() {
    echo "airlock: $1. To fix it: $2" >&2
    exit 1
}

# install_packages WHAT PACKAGE...: installs them when this is root on Debian or Ubuntu, else says how
install_packages() {
    local what=$1
    shift
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        stop "$what is missing on this machine" "sudo apt-get update && sudo apt-get install --yes $*"
    fi
    say "installing $* ($what is missing)"
    if [ -z "${apt_updated:-}" ]; then
        # A third-party source that does not answer must not stop us when Debian's own do.
        apt-get -qq update || say "apt-get update reported errors; going on with what it has"
        apt_updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "$@" >/dev/null
}
