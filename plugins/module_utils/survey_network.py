# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewall, containers that go around it, and who manages the network of a machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from . import canonical
from .commands import Run
from .errors import AirlockError
from .files import read_limited
from .survey_listeners import reach

_MAX_CONFIG = 4 * 1024 * 1024
_XTABLES_DNAT = re.compile(
    r"-A (\S+) .*?-p (tcp|udp)\b.*?--dport (\S+).*?-j DNAT --to-destination (\S+)"
)


def firewall(run: Run, root: str = "/") -> dict[str, Any]:
    """Return ``tables`` of nftables, ``input_policy`` (drop, accept, none), ``ufw``, ``firewalld`` and
    ``redirects``: ports that NAT rules send to somewhere else, before any input chain sees them.
    """
    base = root.rstrip("/")
    active = firewalls(root)
    status, output = run(["nft", "-j", "list", "ruleset"])
    rules = json.loads(output)["nftables"] if status == 0 and output.strip() else []
    tables = [item["table"] for item in rules if "table" in item]
    policies = {
        item["chain"].get("policy", "accept")
        for item in rules
        if "chain" in item and item["chain"].get("hook") == "input"
    }
    return {
        "tables": sorted(f"{table['family']} {table['name']}" for table in tables),
        "input_policy": "drop" if "drop" in policies else "accept" if policies else "none",
        "ufw": "ufw" in active,
        "firewalld": "firewalld" in active,
        "redirects": sorted({*_nft_redirects(rules), *_xtables_redirects(run, base)}),
    }


def firewalls(root: str = "/") -> list[str]:
    """Return the names of those that rule this host beside nftables' own tables: ufw, firewalld."""
    base = root.rstrip("/")
    signs = {
        "ufw": "ENABLED=yes" in _text(f"{base}/etc/ufw/ufw.conf"),
        "firewalld": _running(base, "firewalld"),
    }
    return [name for name, there in signs.items() if there]


def containers(root: str = "/") -> list[dict[str, Any]]:
    """Return the containers of Docker and of root's Podman, read from their files on disk.

    No daemon is asked, for asking may start one. Each has ``engine``, ``name``, ``image``,
    ``running`` (null when the files don't say), ``host_network``, ``privileged``, ``engine_socket`` (it can
    command the engine) and ``ports``, each ``address:port/protocol`` on the host.
    """
    base = root.rstrip("/")
    settings = _json(f"{base}/etc/docker/daemon.json")
    data_root = settings.get("data-root", "/var/lib/docker")
    return [
        *(_docker(path) for path in sorted(Path(f"{base}{data_root}/containers").glob("*"))),
        *_podman(f"{base}/var/lib/containers/storage/overlay-containers/containers.json"),
    ]


def published_everywhere(container: dict[str, Any]) -> list[str]:
    """Return the ports of a container that every network can reach."""
    return [port for port in container["ports"] if reach(port.rpartition(":")[0]) == "everywhere"]


def network(run: Run, root: str = "/") -> dict[str, Any]:
    """Return ``managers`` that own the network, ``interfaces`` with their addresses, and ``vlans``."""
    base = root.rstrip("/")
    interfaces = Path(f"{base}/etc/network/interfaces")
    signs = {
        "NetworkManager": _running(base, "NetworkManager"),
        "systemd-networkd": _running(base, "systemd-network"),
        "netplan": any(Path(f"{base}/etc/netplan").glob("*.yaml")),
        "ifupdown": bool(re.search(r"^\s*iface (?!lo\b)", _text(str(interfaces)), re.MULTILINE)),
        "dhcpcd": _running(base, "dhcpcd"),
    }
    status, output = run(["ip", "-j", "address", "show"])
    links = [
        {
            "name": link["ifname"],
            "addresses": [
                f"{address['local']}/{address['prefixlen']}"
                for address in link.get("addr_info", [])
                if address.get("scope") != "link"
            ],
        }
        for link in (json.loads(output) if status == 0 else [])
        if link.get("ifname") != "lo"
    ]
    vlans = [
        path.name
        for path in sorted(Path(f"{base}/proc/net/vlan").glob("*"))
        if path.name != "config"
    ]
    managers = [name for name, there in signs.items() if there]
    return {"managers": managers, "interfaces": links, "vlans": vlans}


def _nft_redirects(rules: list[dict[str, Any]]) -> list[str]:
    redirects = []
    for item in rules:
        expressions = item.get("rule", {}).get("expr", [])
        target = next((part["dnat"] for part in expressions if "dnat" in part), None)
        if target:
            ports = [
                f"{match['left']['payload']['protocol']} {match['right']}"
                for match in (part.get("match", {}) for part in expressions)
                if isinstance(match.get("left"), dict)
                and match["left"].get("payload", {}).get("field") == "dport"
            ]
            to = f"{target.get('addr')}:{target.get('port', '')}".rstrip(":")
            redirects.append(f"{', '.join(ports) or 'any'} to {to}")
    return redirects


def _xtables_redirects(run: Run, base: str) -> list[str]:
    """Read NAT rules of iptables; the legacy tool only where its table exists, for it would make it."""
    commands = [["iptables-nft-save", "-t", "nat"], ["ip6tables-nft-save", "-t", "nat"]]
    if "nat" in _text(f"{base}/proc/net/ip_tables_names").split():
        commands.append(["iptables-legacy-save", "-t", "nat"])
    return [
        f"{protocol} {port} to {target}"
        for command in commands
        for _chain, protocol, port, target in _XTABLES_DNAT.findall(run(command)[1])
    ]


def _docker(path: Path) -> dict[str, Any]:
    config, host = _json(str(path / "config.v2.json")), _json(str(path / "hostconfig.json"))
    # A running container knows which ports it really got, also those it left to the engine.
    bindings = config.get("NetworkSettings", {}).get("Ports") or host.get("PortBindings") or {}
    return {
        "engine": "docker",
        "name": str(config.get("Name", path.name[:12])).lstrip("/"),
        "image": str(config.get("Config", {}).get("Image", "?")),
        "running": bool(config.get("State", {}).get("Running")),
        "host_network": host.get("NetworkMode") == "host",
        "privileged": bool(host.get("Privileged")),
        "engine_socket": any("docker.sock" in str(bind) for bind in host.get("Binds") or []),
        "ports": sorted(
            f"{binding.get('HostIp') or '0.0.0.0'}:{binding.get('HostPort')}/{port.rpartition('/')[2]}"  # noqa: S104
            for port, published in bindings.items()
            for binding in published or []
        ),
    }


def _podman(path: str) -> list[dict[str, Any]]:
    try:
        entries = canonical.loads(read_limited(path, _MAX_CONFIG))
    except (AirlockError, OSError):
        return []
    return [
        {
            "engine": "podman",
            "name": str((entry.get("names") or ["?"])[0]),
            "image": str(json.loads(entry.get("metadata") or "{}").get("image-name", "?")),
            "running": None,
            "host_network": False,
            "privileged": False,
            "engine_socket": False,
            "ports": [],
        }
        for entry in entries
    ]


def _running(base: str, command: str) -> bool:
    """Is there a process of this name? The kernel keeps 15 characters of it (proc_pid_comm(5))."""
    return any(
        _text(str(path)).strip() == command[:15]
        for path in Path(f"{base}/proc").glob("[0-9]*/comm")
    )


def _json(path: str) -> dict[str, Any]:
    try:
        value = canonical.parse(read_limited(path, _MAX_CONFIG), where=path)
    except (AirlockError, OSError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "backslashreplace")
    except OSError:
        return ""
