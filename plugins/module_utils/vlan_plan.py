# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the wanted network and the one that is there to the files, the commands, and the way back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .vlan import Network
from .vlan_files import files, made, profile
from .vlan_owner import owner

Command = list[str]
Made = Mapping[str, str]


def plan(network: Network | None, seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a host with ``seen`` have ``network``, or none of ours.

    ``owner``, ``files`` and ``directories`` for `managed_files`, ``because``: reasons to apply
    them although no file differs, and the commands ``apply``, ``revert`` and ``revert_boot`` for
    `commit_confirm`, which see the new files, and the former ones again. Raises AirlockError.
    """
    former: Made | None = seen["former"]
    wanted: Made | None = None
    placed: list[dict[str, str]] = []
    because: list[str] = []
    if network is not None:
        wanted = made(network, owner(network, seen))
        placed = files(network, wanted["owner"], seen)
        because = missing(network, seen)
    both = [known for known in (wanted, former) if known is not None]
    return {
        "owner": wanted["owner"] if wanted else "",
        "files": placed,
        "directories": [
            {"path": directory}
            for directory in sorted({os.path.dirname(file["path"]) for file in placed})
            if directory.endswith((".network.d", "/etc/airlock"))
        ],
        "because": because,
        "apply": [*_down(former or wanted), *(_up(wanted) if wanted else _settle(former))],
        "revert": [*_down(wanted), *(_up(former) if former else _settle(wanted))],
        # netplan has written its files for this boot before anything else ran.
        "revert_boot": [["netplan", "generate"]]
        if any(known["owner"] == "netplan" for known in both)
        else [],
    }


def missing(network: Network, seen: Mapping[str, Any]) -> list[str]:
    """Return what of ``network`` is not there, one phrase each."""
    link = next((link for link in seen["interfaces"] if link["name"] == network.interface), None)
    if link is None:
        return [f"{network.interface} is missing"]
    found = [] if link["up"] else [f"{network.interface} is down"]
    if network.mode == "trunk" and (link["parent"], link["id"]) != (network.parent, network.id):
        found.append(
            f"{network.interface} is VLAN {link['id']} of {link['parent']}"
            if link["kind"] == "vlan"
            else f"{network.interface} is no VLAN"
        )
    wanted = [str(address) for address in network.addresses]
    return found + [
        f"{network.interface} lacks {address}"
        for address in wanted
        if address not in link["addresses"]
    ]


def excess(network: Network, seen: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what is there beyond ``network``: ``addresses``, ``routes``, ``settings`` and ``forwarding``.

    A phrase each; only for an interface that is there.
    """
    links = {link["name"]: link for link in seen["interfaces"]}
    link = links.get(network.interface)
    if link is None:
        nothing = [f"{network.interface} is missing"]
        return dict.fromkeys(("addresses", "routes", "settings", "forwarding"), nothing)
    wanted = [str(address) for address in network.addresses]
    gateways = sorted(str(gateway) for gateway in network.gateways)
    name, settings = network.interface, link["settings"]
    return {
        "addresses": [
            f"{name} also has {address}" for address in link["addresses"] if address not in wanted
        ],
        "routes": []
        if link["gateways"] == gateways
        else [f"{name} has default routes by {', '.join(link['gateways']) or 'nobody'}"],
        "settings": [
            f"{setting} of {name} is {settings[setting]}"
            for setting, fits in (
                ("accept_ra", settings["accept_ra"] == 0),
                ("rp_filter", settings["rp_filter"] == 1),
                ("arp_ignore", settings["arp_ignore"] >= 1),
                ("arp_announce", settings["arp_announce"] >= 2),
            )
            if not fits
        ],
        "forwarding": []
        if seen["forward_policy"] == "drop"
        else [
            f"the kernel forwards what comes in over {known}"
            for known in sorted({network.interface, network.parent} & set(links))
            if links[known]["settings"]["forwarding4"] or links[known]["settings"]["forwarding6"]
        ],
    }


def _down(known: Made | None) -> list[Command]:
    """Take the interface away, or the addresses off the port; nothing if it is not there."""
    if known is None:
        return []
    interface = known["interface"]
    action = (
        f"ip link delete dev {interface}"
        if known["mode"] == "trunk"
        else f"ip address flush dev {interface} scope global"
    )
    return [["sh", "-c", f"test ! -e /sys/class/net/{interface} || {action}"]]


def _up(known: Made) -> list[Command]:
    """Let the manager bring it up by its files, and the kernel know its settings at once."""
    by_owner = {
        # A reload leaves a link alone that another program has deleted (netdev_load() of systemd 252).
        "networkd": [["systemctl", "restart", "systemd-networkd.service"]],
        "netplan": [["netplan", "generate"], ["netplan", "apply"]],
        "NetworkManager": [
            ["nmcli", "connection", "reload"],
            ["nmcli", "connection", "up", profile(known["interface"])],
        ],
        # What was taken away by hand it still takes for up.
        "ifupdown": [["ifup", "--force", known["interface"]]],
    }
    interface = known["interface"]
    sysctl = "/usr/lib/systemd/systemd-sysctl"
    prefixes = [f"--prefix=/net/{family}/conf/{interface}" for family in ("ipv4", "ipv6")]
    return [*by_owner[known["owner"]], [sysctl, *prefixes]]


def _settle(known: Made | None) -> list[Command]:
    """Let the manager forget what its files do not say any more."""
    if known is None:
        return []
    return {
        "networkd": [["systemctl", "restart", "systemd-networkd.service"]],
        "netplan": [["netplan", "apply"]],
        "NetworkManager": [["nmcli", "connection", "reload"]],
        "ifupdown": [],
    }[known["owner"]]
