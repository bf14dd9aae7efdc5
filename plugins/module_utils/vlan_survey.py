# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the network of a host is today: interfaces, who manages them, and what of it is ours.

Four programs manage the network of a Debian or Ubuntu host, each by files of its own: networkd,
NetworkManager, ifupdown, and netplan, which writes the files of the first two. What a manager
*claims* is a link that one of its files configures.
"""

from __future__ import annotations

import fnmatch
import glob
import json
import os
import re
from pathlib import Path
from typing import Any

from . import canonical
from .commands import Run
from .errors import AirlockError
from .files import read_limited

STATE = "/etc/airlock/vlan.json"
"""What this collection has made: ``{"interface", "mode", "owner", "parent"}``."""

INTERFACES_D = "/etc/network/interfaces.d/airlock"

_MAX_BYTES = 1024 * 1024
_NETWORK_FILE = re.compile(r"^\s*Network File: (/\S+)", re.MULTILINE)
# netplan-generate(8): what it writes for each of its definitions.
_NETPLAN_NETWORKD = re.compile(r"/run/systemd/network/10-netplan-(.+)\.network")
_NETPLAN_NM = re.compile(r".*/netplan-(.+)\.nmconnection")
_SETTINGS = {
    "accept_ra": "ipv6",
    "arp_announce": "ipv4",
    "arp_ignore": "ipv4",
    "forwarding4": "ipv4",
    "forwarding6": "ipv6",
    "rp_filter": "ipv4",
}
# The kernel takes the greater one of "all" and the interface (ip-sysctl.rst).
_GREATER = ("rp_filter", "arp_ignore", "arp_announce")


def survey(run: Run, root: str = "/") -> dict[str, Any]:
    """Return a host's network; ``root`` is where its files are. Raises AirlockError.

    ``interfaces``     all but lo, each with ``name``, ``kind`` ("" for a port, "vlan", "bridge", ...),
                       ``parent`` and ``id`` of a VLAN, ``up``, ``wifi``, ``addresses`` with the
                       length of their network, ``gateways`` of default routes and ``settings`` of the kernel.
    ``active``         the managers that run, or have files.
    ``claims``         manager to link to the file that configures it; for netplan, its name for the link.
    ``interfaces_d``   whether ifupdown reads the file that is meant for it.
    ``cloud_init``     whether cloud-init is there, which may write the network's files anew.
    ``former``         `STATE`, or null.
    ``forward_policy`` of the rules of the role egress, "" without them.
    """
    base = root.rstrip("/")
    interfaces = _interfaces(run, base)
    names = [link["name"] for link in interfaces]
    claims: dict[str, dict[str, str]] = {
        "netplan": {},
        "networkd": {},
        "NetworkManager": {},
        "ifupdown": {},
    }
    stanzas, reads_ours = _ifupdown(base)
    netplan = _installed(base, "netplan") and any(
        glob.glob(f"{base}/{directory}/netplan/*.yaml") for directory in ("etc", "lib", "run")
    )
    active = ["netplan"] if netplan else []
    if _runs(run, "systemd-networkd"):
        active.append("networkd")
        for name, path in _networkd(run, names).items():
            _claim(claims, "networkd", name, path, _NETPLAN_NETWORKD)
    if _runs(run, "NetworkManager"):
        active.append("NetworkManager")
        for name, path in _network_manager(run, names).items():
            _claim(claims, "NetworkManager", name, path, _NETPLAN_NM)
    if _installed(base, "ifup"):
        active.append("ifupdown")
        claims["ifupdown"] = stanzas
    return {
        "interfaces": interfaces,
        "active": active,
        "claims": claims,
        "interfaces_d": reads_ours,
        "cloud_init": os.path.isdir(f"{base}/etc/cloud/cloud.cfg.d"),
        "former": _former(base),
        "forward_policy": _forward_policy(run),
    }


def _claim(
    claims: dict[str, dict[str, str]],
    manager: str,
    link: str,
    path: str,
    of_netplan: re.Pattern[str],
) -> None:
    """Enter a claim under the one who wrote the file."""
    if found := of_netplan.fullmatch(path):
        claims["netplan"][link] = found.group(1)
    else:
        claims[manager][link] = path


def _interfaces(run: Run, base: str) -> list[dict[str, Any]]:
    status, output = run(["ip", "-d", "-j", "address", "show"])
    if status != 0:
        raise AirlockError.refuse(
            "the interfaces of the host cannot be listed", found=output.strip()
        )
    routes = [
        route
        for family in ("-4", "-6")
        for route in _json(run, ["ip", family, "-j", "route", "show", "default"])
    ]
    found = []
    for link in json.loads(output):
        name = link.get("ifname", "lo")
        if name == "lo":
            continue
        info = link.get("linkinfo", {})
        kind = info.get("info_kind", "")
        found.append(
            {
                "name": name,
                # A port of a container is the end of a cable like any other.
                "kind": "" if kind == "veth" else kind,
                "parent": link.get("link", "") if kind == "vlan" else "",
                "id": info.get("info_data", {}).get("id", 0) if kind == "vlan" else 0,
                "up": "UP" in link.get("flags", []),
                "wifi": os.path.exists(f"{base}/sys/class/net/{name}/wireless"),
                "addresses": [
                    f"{address['local']}/{address['prefixlen']}"
                    for address in link.get("addr_info", [])
                    if address.get("scope") == "global"
                ],
                "gateways": sorted(
                    route.get("gateway", "link") for route in routes if route.get("dev") == name
                ),
                "settings": {
                    setting: _setting(base, family, name, setting)
                    for setting, family in _SETTINGS.items()
                },
            }
        )
    return found


def _setting(base: str, family: str, link: str, setting: str) -> int:
    """Return a value as it is in force; 0 where the kernel does not speak that family."""
    values = [
        _text(f"{base}/proc/sys/net/{family}/conf/{directory}/{setting.rstrip('46')}").strip()
        for directory in (link, *(("all",) if setting in _GREATER else ()))
    ]
    return max(int(value) if value else 0 for value in values)


def _networkd(run: Run, names: list[str]) -> dict[str, str]:
    found = {}
    for name in names:
        status, output = run(["networkctl", "status", "--no-pager", "--lines=0", name])
        if status == 0 and (path := _NETWORK_FILE.search(output)):
            found[name] = path.group(1)
    return found


def _network_manager(run: Run, names: list[str]) -> dict[str, str]:
    """Return the profiles that are in force, but not those that only describe what others made."""
    c_locale = ["env", "LC_ALL=C"]  # the states are translated
    _status, states = run([*c_locale, "nmcli", "-t", "-f", "DEVICE,STATE", "device", "status"])
    external = {
        line.partition(":")[0] for line in states.splitlines() if line.endswith("(externally)")
    }
    _status, profiles = run(
        [*c_locale, "nmcli", "-t", "-f", "DEVICE,FILENAME", "connection", "show", "--active"]
    )
    found = {}
    for line in profiles.splitlines():
        device, _colon, path = line.partition(":")
        if device in names and device not in external:
            found[device] = path.replace("\\:", ":")
    return found


def _ifupdown(base: str) -> tuple[dict[str, str], bool]:
    """Return links with a stanza to its file, and whether `INTERFACES_D` would be read."""
    stanzas: dict[str, str] = {}
    reads_ours = False
    waiting = ["/etc/network/interfaces"]
    done: set[str] = set()
    while waiting:
        path = waiting.pop(0)
        if path in done:
            continue
        done.add(path)
        for line in _text(base + path).splitlines():
            words = line.split()
            if len(words) < 2:
                continue
            if words[0] == "iface" and words[1] != "lo":
                stanzas.setdefault(words[1], path)
            if words[0] in ("source", "source-directory"):
                # interfaces(5): relative to the directory of the file; a directory means its plain files.
                pattern = os.path.join(os.path.dirname(path), words[1])
                if words[0] == "source-directory":
                    pattern = os.path.join(pattern, "*")
                reads_ours = reads_ours or fnmatch.fnmatch(INTERFACES_D, pattern)
                waiting += [found[len(base) :] for found in sorted(glob.glob(base + pattern))]
    return stanzas, reads_ours


def _former(base: str) -> Any:
    try:
        return canonical.loads(read_limited(base + STATE, _MAX_BYTES), where=STATE)
    except FileNotFoundError:
        return None


def _forward_policy(run: Run) -> str:
    listed = _json(run, ["nft", "-j", "list", "chain", "inet", "airlock", "forward"])
    for item in listed["nftables"] if listed else []:
        if "chain" in item:
            return str(item["chain"].get("policy", "accept"))
    return ""


def _json(run: Run, command: list[str]) -> Any:
    """Return what the command says, an empty list when it fails or says nothing."""
    status, output = run(command)
    return json.loads(output) if status == 0 and output.strip() else []


def _runs(run: Run, unit: str) -> bool:
    return run(["systemctl", "is-active", "--quiet", f"{unit}.service"])[0] == 0


def _installed(base: str, program: str) -> bool:
    return any(os.path.exists(f"{base}/{folder}/{program}") for folder in ("usr/sbin", "sbin"))


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "backslashreplace")
    except OSError:
        return ""
