# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a machine, and which listeners answer questions to a model without a key."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATHS = ("/v1/models", "/api/tags", "/api/version", "/health")
"""What is asked, in this order; all are read-only questions of the usual servers."""

MAX_PROBED = 256
"""Listeners that are asked at most."""

_TCP_LISTEN = "0A"
_UDP_UNCONNECTED = "07"
_TABLES = (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"))
# Bytes from strangers annoy these more than they tell us: ssh, mail, DNS, printers.
_NEVER_ASKED = frozenset({22, 25, 53, 631, 9100})
_KEY_WANTED = (401, 403)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer: status code, the ``Server`` header, the body as text, and whether over TLS."""

    status: int
    server: str
    body: str
    tls: bool = False


Fetch = Callable[[str, int, str], "Answer | None"]
"""Asks an address of this machine, port and path; None when no HTTP comes back."""


def listeners(root: str = "/") -> list[dict[str, Any]]:
    """Return every TCP listener and bound UDP socket in the host's network namespace.

    Each has ``protocol``, ``address``, ``port``, ``reach`` (everywhere, network, itself),
    ``process`` and ``unit`` (empty when not known). Source: proc_pid_net(5).
    """
    before = _sockets(root)
    owners = _socket_owners(root)
    # Who asks a name server has a socket for a moment: one that nobody holds any more was never a listener.
    after = _sockets(root)
    found = {}
    for socket in sorted(before):
        inode, protocol, address, port = socket
        if inode not in owners and socket not in after:
            continue
        process, unit = owners.get(inode, ("", ""))
        found[protocol, address, port] = {
            "protocol": protocol,
            "address": address,
            "port": port,
            "reach": reach(address),
            "process": process,
            "unit": unit,
        }
    return [found[key] for key in sorted(found)]


def _sockets(root: str) -> set[tuple[str, str, str, int]]:
    """Return inode ("0" for the kernel's own), protocol, address and port of what waits for somebody."""
    found = set()
    for table, protocol in _TABLES:
        path = Path(f"{root}/proc/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == (_TCP_LISTEN if protocol == "tcp" else _UDP_UNCONNECTED):
                found.add((fields[9], protocol, *decode_address(fields[1])))
    return found


def decode_address(text: str) -> tuple[str, int]:
    """Decode ``0100007F:1F90``: words of the address in host byte order, then the port.

    An IPv4 address in an IPv6 socket comes back as the IPv4 address that it is.
    """
    raw, _colon, port = text.partition(":")
    words = [bytes.fromhex(raw[start : start + 8])[::-1] for start in range(0, len(raw), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), int(port, 16)


def reach(address: str) -> str:
    """Say from where an address can be reached as far as the socket decides it."""
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified:
        return "everywhere"
    return "itself" if parsed.is_loopback else "network"


def ask(found: Iterable[Mapping[str, Any]], fetch: Fetch) -> list[dict[str, Any]]:
    """Ask each TCP listener who it is; return those that speak HTTP.

    Each has ``address``, ``port``, ``reach``, ``process``, ``unit``, ``tls``, ``product``, ``access`` (open:
    it told its models without a key; key: it asks for one; other) and ``models`` (names).
    """
    targets = worth_asking(found)[:MAX_PROBED]
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda listener: _ask_one(listener, fetch), targets))
    return [answer for answer in answers if answer is not None]


def worth_asking(found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the TCP listeners that may be asked who they are; `ask` asks the first MAX_PROBED of them."""
    return [
        listener
        for listener in found
        if listener["protocol"] == "tcp" and listener["port"] not in _NEVER_ASKED
    ]


def _ask_one(listener: Mapping[str, Any], fetch: Fetch) -> dict[str, Any] | None:
    address = _own_address(listener["address"])
    replies: dict[str, Answer] = {}
    for path in PATHS:
        reply = fetch(address, listener["port"], path)
        if reply is None:
            break
        replies[path] = reply
    if not replies:
        return None
    return {
        **{key: listener[key] for key in ("address", "port", "reach", "process", "unit")},
        "tls": any(reply.tls for reply in replies.values()),
        **classify(replies),
    }


def _own_address(address: str) -> str:
    if reach(address) != "everywhere":
        return address
    return "127.0.0.1" if ipaddress.ip_address(address).version == 4 else "::1"


def classify(replies: Mapping[str, Answer]) -> dict[str, Any]:
    """Tell from the answers by path which product it is, and whether it wants a key.

    What tells them apart: llama.cpp and vLLM name themselves as owner of their models, Ollama
    and Open WebUI both have /api/version, and only Open WebUI's carries a deployment id.
    """
    answers = {path: _object(reply) for path, reply in replies.items()}
    data = _dicts(answers.get("/v1/models", {}).get("data"))
    tags = _dicts(answers.get("/api/tags", {}).get("models"))
    version = answers.get("/api/version", {})
    owners = {str(model.get("owned_by")) for model in data}
    servers = " ".join(reply.server for reply in replies.values()).lower()
    if "llamacpp" in owners or "llama.cpp" in servers:
        product = "llama.cpp"
    elif "vllm" in owners:
        product = "vLLM"
    elif "deployment_id" in version or answers.get("/health") == {"status": True}:
        product = "Open WebUI"
    elif tags or (
        "version" in version and "/api/tags" in answers and "models" in answers["/api/tags"]
    ):
        product = "Ollama"
    elif "localai" in servers or any("localai" in reply.body.lower() for reply in replies.values()):
        product = "LocalAI"
    else:
        product = "unknown"
    models = [str(model.get("id") or model.get("name") or "?") for model in data + tags]
    if models or product == "Ollama":
        access = "open"
    elif any(reply.status in _KEY_WANTED for reply in replies.values()):
        access = "key"
    else:
        access = "other"
    return {"product": product, "access": access, "models": sorted(set(models))}


def _object(reply: Answer) -> dict[str, Any]:
    if reply.status != 200:
        return {}
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _socket_owners(root: str) -> dict[str, tuple[str, str]]:
    """Return inode of a socket to name and unit of the process that holds it."""
    owners = {}
    for process in Path(f"{root}/proc").glob("[0-9]*"):
        try:
            links = [_target(link) for link in (process / "fd").iterdir()]
            identity = (
                (process / "comm").read_text("utf-8", "backslashreplace").strip(),
                unit_of((process / "cgroup").read_text("utf-8", "backslashreplace")),
            )
        except OSError:  # it ended meanwhile
            continue
        for link in links:
            if link.startswith("socket:["):
                owners[link[8:-1]] = identity
    return owners


def _target(link: Path) -> str:
    """Return what a descriptor is open on, "" where it was closed meanwhile: its process goes on."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def unit_of(cgroup: str) -> str:
    """Return the unit or the container that a process belongs to (cgroups(7)), or "".

    The innermost name counts: a service inside a container is that service.
    """
    for part in reversed(cgroup.strip().split("/")):
        if part.endswith(".service"):
            return part
        container = re.fullmatch(
            r"(?:(?:docker|libpod)-)?([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?", part
        )
        if container:
            return f"container {container[1]}"
    return ""
