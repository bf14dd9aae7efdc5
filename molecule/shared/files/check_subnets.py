# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse networks for the lab that this machine already uses for something else.

Usage: check_subnets.py BRIDGE_PREFIX SUBNET...

Routes over bridges whose name starts with BRIDGE_PREFIX are the lab's own and are left out. A network laid over a
resolver or a package registry would hijack it without a word, so those are looked up as well.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

FIX = "set AIRLOCK_LAB_NUMBER to another number from 0 to 255 (it becomes part of every subnet of the lab)"


def routes(own: str) -> Iterator[tuple[str, str]]:
    for family in ("-4", "-6"):
        output = subprocess.run(
            ["ip", family, "-json", "route", "show", "table", "all"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for route in json.loads(output or "[]"):
            destination = route["dst"]
            if destination != "default" and not route.get("dev", "").startswith(own):
                yield destination, f"the route to {destination} over {route.get('dev', 'nothing')}"


def resolvers() -> Iterator[tuple[str, str]]:
    for line in Path("/etc/resolv.conf").read_text().splitlines():
        words = line.split()
        if words[:1] == ["nameserver"]:
            yield words[1].partition("%")[0], f"the resolver {words[1]}"


def registry_hosts() -> set[str]:
    """Return the hosts that pip and apt of this machine fetch from, and PyPI's own."""
    text = " ".join(value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")))
    files = [Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf"]
    files += Path("/etc/apt").glob("sources.list*/*")
    files += Path("/etc/apt").glob("sources.list")
    for file in files:
        if file.is_file():
            text += " " + file.read_text(errors="replace")
    urls = re.findall(r"https?://[^\s\]\"']+", text)
    found = {urlsplit(url).hostname for url in urls}
    return {"pypi.org", "files.pythonhosted.org", "deb.debian.org", *filter(None, found)}


def registries() -> Iterator[tuple[str, str]]:
    for host in sorted(registry_hosts()):
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            continue
        for entry in found:
            yield str(entry[4][0]), f"{host} ({entry[4][0]}), where packages come from"


def main(own: str, subnets: list[str]) -> int:
    taken = [*routes(own), *resolvers(), *registries()]
    for wanted in map(ipaddress.ip_network, subnets):
        for text, what in taken:
            network = ipaddress.ip_network(text, strict=False)
            if network.version == wanted.version and wanted.overlaps(network):
                print(f"The lab's subnet {wanted} overlaps {what}; {FIX}.", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
