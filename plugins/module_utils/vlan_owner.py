# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the network managers of a host gets the files of the VLAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import AirlockError
from .vlan import Network
from .vlan_survey import INTERFACES_D

# They only carry out what netplan says where that is in charge.
_RENDERERS = ("networkd", "NetworkManager")
_PORTS = ("netplan", "NetworkManager")


def owner(network: Network, seen: Mapping[str, Any]) -> str:
    """Return netplan, networkd, NetworkManager or ifupdown; ``seen`` as `vlan_survey.survey` gives it.

    The one that has the parent; without one, the one that has any other link; without that, the
    one that is there. Raises AirlockError when that is none or more than one, or when the one
    cannot do what is wanted.
    """
    claims = seen["claims"]
    having = [name for name in claims if network.parent in claims[name]]
    if len(having) > 1:
        raise AirlockError.refuse(
            f"{network.parent} has two owners",
            expected="one program that manages it",
            found=" and ".join(f"{name} ({claims[name][network.parent]})" for name in having),
            where="vlan_parent",
            fix=f"take {network.parent} out of the files of all but one",
        )
    candidates = having or [name for name in claims if claims[name]] or _idle(seen["active"])
    if len(candidates) != 1:
        raise AirlockError.refuse(
            f"nobody can tell who shall manage {network.interface}",
            expected="one of netplan, systemd-networkd, NetworkManager and ifupdown",
            found=" and ".join(candidates) or "none of them running",
            where="vlan_parent",
            fix=f"let one of them manage {network.parent}, or set vlan_mode: none with vlan_waiver",
        )
    _refuse_impossible(network, candidates[0], seen)
    return candidates[0]


def _idle(active: list[str]) -> list[str]:
    """Return who is there, though without a link to its name."""
    return [name for name in active if not ("netplan" in active and name in _RENDERERS)]


def _refuse_impossible(network: Network, name: str, seen: Mapping[str, Any]) -> None:
    link = next(link for link in seen["interfaces"] if link["name"] == network.parent)
    file = seen["claims"][name].get(network.parent, "")
    ours = (seen["former"] or {}).get("interface") == network.interface
    if name == "ifupdown" and not seen["interfaces_d"]:
        raise AirlockError.refuse(
            f"ifupdown would not read {INTERFACES_D}",
            expected="the line 'source /etc/network/interfaces.d/*'",
            found="none",
            where="/etc/network/interfaces",
            fix="add it there",
        )
    if network.mode == "trunk":
        return
    if name == "ifupdown" and file and file != INTERFACES_D:
        raise AirlockError.refuse(
            f"{network.parent} would get the addresses of both files",
            expected=f"no 'iface {network.parent}' but ours",
            found=file,
            where="vlan_parent",
            fix="remove it from there",
        )
    if name in _PORTS and link["kind"]:
        raise AirlockError.refuse(
            f"{network.parent} is a {link['kind']}",
            expected=f"a port, because {name} is told what kind of link it configures",
            where="vlan_parent",
            fix=f"give its addresses in the files of {name}, or name a port",
        )
    if not file and not ours and link["addresses"]:
        raise AirlockError.refuse(
            f"{network.parent} has addresses that no file of a network manager explains and nothing could put back",
            found=", ".join(link["addresses"]),
            where="vlan_parent",
            fix="remove them, or write them into the files of its manager",
        )
