# SPDX-License-Identifier: GPL-3.0-or-later
# Sourced by every tests/run-*: where things are, which tools to use, one line of progress per step.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
[ -d .venv ] && PATH="$ROOT/.venv/bin:$PATH"
export PATH ANSIBLE_NOCOWS=1 PYTHONDONTWRITEBYTECODE=1

step() { printf -- '-- %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}
need() { # need PROGRAM...
    local program
    for program; do
        command -v "$program" >/dev/null ||
            die "$program is not installed; 'make venv' puts every tool into .venv."
    done
}

# The clone under the name that Ansible and Python import it by, whatever its folder is called.
collection_tree() {
    local tree=$ROOT/.build/collections
    mkdir -p "$tree/ansible_collections/homelab"
    ln -sfn "$ROOT" "$tree/ansible_collections/homelab/airlock"
    printf '%s\n' "$tree"
}

# A real copy as a git tree, one for each script: ansible-test refuses symlinks and asks git which files are content.
collection_copy() {
    local copy=$ROOT/.build/ansible-test/${0##*/}/ansible_collections/homelab/airlock
    rm -rf "$copy"
    mkdir -p "$copy"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done |
        tar --null --files-from=- -cf - | tar -xf - -C "$copy"
    git -C "$copy" init -q
    git -C "$copy" add -A
    printf '%s\n' "$copy"
}

# Where the collections that ours depends on are installed (PyPI's ansible brings them).
installed_collections() {
    ansible-galaxy collection list --format json 2>/dev/null |
        python3 -c 'import json, os, sys
for path, found in json.load(sys.stdin).items():
    if "community.general" in found:
        sys.exit(print(os.path.dirname(path)))
sys.exit("community.general is in no collection path: install the packages of requirements.txt.")'
}

# ansible-test fetches get-pip from a host of its own, which an offline or filtered machine cannot
# reach; Python carries a pip, and ansible-test then installs the version that it wants.
seed_get_pip() {
    local requirements name
    requirements=$(python3 -c 'import ansible_test, pathlib
print(pathlib.Path(list(ansible_test.__path__)[0]) / "_internal/python_requirements.py")')
    name=$(sed -n "s/^ *pip='\([0-9.]*\)',\$/\1/p" "$requirements" | head -n 1)
    [ -n "$name" ] || die "no pip version found in $requirements; ansible-test has changed."
    name=$HOME/.ansible/test/cache/get_pip_${name//./_}.py
    [ ! -e "$name" ] || return 0
    mkdir -p "${name%/*}"
    printf 'import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n' >"$name"
}

ansible_test() { # ansible_test COMMAND ARGUMENT...: with the Python that Ansible itself runs on
    local python
    python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    ansible-test "$1" --local --python "$python" "${@:2}"
}
