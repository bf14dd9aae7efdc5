# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a VLAN, in the language of each network manager.

What they say is the same: the addresses and no others, nothing by DHCP or router advertisement, a
link-local IPv6 address only beside another IPv6 address, no default route but those wanted, and
nothing that a boot would wait for.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from .canonical import dumps
from .vlan import Network
from .vlan_survey import INTERFACES_D, STATE

File = dict[str, str]
"""``path``, ``content`` and ``mode``, as `managed_files` takes them."""

NETWORKD = "/etc/systemd/network"
_NO_NAMESPACE = uuid.UUID(int=0)
_HEAD = "# Ansible managed: role vlan of homelab.airlock\n"


def files(network: Network, owner: str, seen: Mapping[str, Any]) -> list[File]:
    """Return every file of ``network`` on a host where ``owner`` manages the parent."""
    found = [
        _file(STATE, dumps(made(network, owner)).decode() + "\n"),
        _file("/etc/sysctl.d/90-airlock-vlan.conf", _kernel_settings(network.interface)),
        *_WRITERS[owner](network, seen),
    ]
    if seen["cloud_init"]:
        # cloud-init's own documentation, "Disabling network configuration".
        found.append(
            _file("/etc/cloud/cloud.cfg.d/99-airlock-network.cfg", "network: {config: disabled}\n")
        )
    return found


def made(network: Network, owner: str) -> dict[str, str]:
    """Return what `STATE` remembers."""
    return {
        "interface": network.interface,
        "mode": network.mode,
        "owner": owner,
        "parent": network.parent,
    }


def profile(interface: str) -> str:
    """Return the name of NetworkManager's connection."""
    return f"airlock-{interface}"


def _kernel_settings(interface: str) -> str:
    """Return a file for sysctl.d(5).

    systemd's udev rule reads it again when the interface appears, whoever makes it; slashes,
    because the name may have dots, and "-" because there may be no IPv6.
    """
    wanted = {
        f"net/ipv4/conf/{interface}/rp_filter": 1,  # RFC 3704: answers leave where packets came from
        f"net/ipv4/conf/{interface}/arp_ignore": 1,
        f"net/ipv4/conf/{interface}/arp_announce": 2,
        f"net/ipv6/conf/{interface}/accept_ra": 0,
    }
    return "".join(f"-{key} = {value}\n" for key, value in wanted.items())


def _networkd(network: Network, seen: Mapping[str, Any]) -> list[File]:
    """systemd.netdev(5), systemd.network(5). The name sorts before those of others: the first one that matches wins."""
    found = [
        _file(
            f"{NETWORKD}/05-airlock-{network.interface}.network",
            f"[Match]\nName={network.interface}\n\n"
            "[Link]\nRequiredForOnline=no\n\n"
            "[Network]\nDHCP=no\nIPv6AcceptRA=no\nLLDP=no\n"
            f"LinkLocalAddressing={'ipv6' if 6 in network.versions() else 'no'}\n"
            + "".join(f"Address={address}\n" for address in network.addresses)
            + "".join(f"Gateway={gateway}\n" for gateway in network.gateways),
        )
    ]
    if network.mode == "access":
        return found
    own = f"{NETWORKD}/90-airlock-{network.parent}.network"
    theirs = seen["claims"]["networkd"].get(network.parent, own)
    if theirs == own:
        parent = _file(
            own,
            f"[Match]\nName={network.parent}\n\n[Link]\nRequiredForOnline=no\n\n"
            "[Network]\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n"
            f"VLAN={network.interface}\n",
        )
    else:
        parent = _file(
            f"{NETWORKD}/{os.path.basename(theirs)}.d/60-airlock.conf",
            f"[Network]\nVLAN={network.interface}\n",
        )
    netdev = f"[NetDev]\nName={network.interface}\nKind=vlan\n\n[VLAN]\nId={network.id}\n"
    return [
        _file(f"{NETWORKD}/05-airlock-{network.interface}.netdev", netdev),
        *found,
        parent,
    ]


def _netplan(network: Network, seen: Mapping[str, Any]) -> list[File]:
    """netplan's YAML reference. Definitions of the same link in other files are merged with these."""
    links = {link["name"]: link for link in seen["interfaces"]}
    parent = seen["claims"]["netplan"].get(network.parent, network.parent)
    lines = ["network:", "  version: 2"]
    if network.mode == "access":
        lines += ["  ethernets:", f'    "{parent}":', *_netplan_link(network)]
    else:
        if not links[network.parent]["kind"]:
            # netplan knows only links that are defined; what is defined elsewhere stays as it is there.
            lines += ["  ethernets:", f'    "{parent}": {{}}']
        lines += [
            "  vlans:",
            f'    "{network.interface}":',
            f"      id: {network.id}",
            f'      link: "{parent}"',
            *_netplan_link(network),
        ]
    # It refuses to be read by others, because such files may hold passwords of a Wi-Fi.
    return [_file("/etc/netplan/90-airlock.yaml", "\n".join(lines) + "\n", "0600")]


def _netplan_link(network: Network) -> list[str]:
    lines = [
        "      dhcp4: false",
        "      dhcp6: false",
        "      accept-ra: false",
        f"      link-local: [{'ipv6' if 6 in network.versions() else ''}]",
        "      optional: true",
        "      addresses:",
        *(f'        - "{address}"' for address in network.addresses),
    ]
    if network.gateways:
        lines.append("      routes:")
    for gateway in network.gateways:
        # "default" is unknown to the netplan of Ubuntu 22.04 as it was released.
        everywhere = "0.0.0.0/0" if gateway.version == 4 else "::/0"
        lines += [f'        - to: "{everywhere}"', f'          via: "{gateway}"']
    return lines


def _network_manager(network: Network, _seen: Mapping[str, Any]) -> list[File]:
    """nm-settings-keyfile(5); files that others may read are ignored."""
    name = profile(network.interface)
    text = (
        f"[connection]\nid={name}\nuuid={uuid.uuid5(_NO_NAMESPACE, name)}\n"
        f"type={'vlan' if network.mode == 'trunk' else 'ethernet'}\n"
        # Of several profiles for a link, the one with the highest number is taken.
        f"interface-name={network.interface}\nautoconnect=true\nautoconnect-priority=900\n"
    )
    if network.mode == "trunk":
        text += f"\n[vlan]\nid={network.id}\nparent={network.parent}\n"
    for version in (4, 6):
        text += _network_manager_family(network, version)
    path = f"/etc/NetworkManager/system-connections/{name}.nmconnection"
    return [_file(path, _HEAD + text, "0600")]


def _network_manager_family(network: Network, version: int) -> str:
    addresses = [address for address in network.addresses if address.version == version]
    gateways = [gateway for gateway in network.gateways if gateway.version == version]
    lines = [f"\n[ipv{version}]", f"method={'manual' if addresses else 'disabled'}"]
    lines += [f"address{index}={address}" for index, address in enumerate(addresses, 1)]
    if addresses:
        lines += [f"gateway={gateway}" for gateway in gateways] or ["never-default=true"]
    return "\n".join(lines) + "\n"


def _ifupdown(network: Network, _seen: Mapping[str, Any]) -> list[File]:
    """interfaces(5): one stanza for each address; the first one makes the link.

    By ip(8), because ifupdown's own options for VLANs want a package more, or a certain name.
    """
    interface, parent = network.interface, network.parent
    lines = [f"auto {interface}"]
    for index, address in enumerate(network.addresses):
        lines += [
            "",
            f"iface {interface} inet{'6' if address.version == 6 else ''} static",
            f"    address {address}",
        ]
        if index == 0 and network.mode == "trunk":
            lines += [
                f"    pre-up ip link set dev {parent} up",
                f"    pre-up test -e /sys/class/net/{interface}"
                f" || ip link add link {parent} name {interface} type vlan id {network.id}",
                f"    post-down test ! -e /sys/class/net/{interface} || ip link delete dev {interface}",
            ]
        first = next(host for host in network.addresses if host.version == address.version)
        if address == first:
            lines += [
                f"    gateway {gateway}"
                for gateway in network.gateways
                if gateway.version == address.version
            ]
    return [_file(INTERFACES_D, "\n".join(lines) + "\n")]


_WRITERS: dict[str, Callable[[Network, Mapping[str, Any]], list[File]]] = {
    "netplan": _netplan,
    "networkd": _networkd,
    "NetworkManager": _network_manager,
    "ifupdown": _ifupdown,
}


def _file(path: str, content: str, mode: str = "0644") -> File:
    head = "" if content.startswith(("{", _HEAD)) else _HEAD
    return {"path": path, "content": head + content, "mode": mode}
