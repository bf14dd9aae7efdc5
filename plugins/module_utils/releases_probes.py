# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is tried against running releases, as probes for the module ``net_probe``.

The part of an id before the first slash says what a probe is for: ``lo``, ``out``, ``host``,
``peer``, ``door`` and ``write`` are expected to be refused, ``control`` to be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import probes
from .releases import files_of, unit_of

GATEKEEPER = "airlock-gatekeeper"
BUS = "/run/dbus/system_bus_socket"
HOST_SOCKETS = (
    BUS,
    "/run/systemd/private",
    "/run/systemd/journal/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/systemd/userdb/io.systemd.DynamicUser",
    "/run/nscd/socket",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
)
"""Sockets of the host that a release must not see: buses, resolvers, service and container managers."""

_STRANGERS = ("airlock-edge", "nobody")


def attempts(
    releases: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return every probe for ``releases`` (as ``releases.resolve`` gives them) and their controls."""
    return [
        *(probe for release in releases for probe in _inside(release, releases, targets)),
        *(probe for release in releases for probe in _outside(release)),
        *_controls(releases),
    ]


def _inside(
    release: Mapping[str, Any],
    releases: Iterable[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return what a release itself may not do, in its own namespaces and as its own user."""
    here = {"unit": unit_of(release["release"]), "user": release["user"], "expect": "refused"}
    return [
        {"id": "lo/", "kind": "interfaces", **here},
        *(
            {**probe, "id": f"out/{probe['id']}"}
            for probe in probes.for_targets(
                targets, users=[here["user"]], unit=here["unit"], expect="refused"
            )
        ),
        *({"id": f"host/{path}", "kind": "unix", "path": path, **here} for path in HOST_SOCKETS),
        *(
            {"id": f"peer/{peer['release']}", "kind": "unix", "path": _socket(peer), **here}
            for peer in releases
            if peer["release"] != release["release"]
        ),
        *({"id": f"write/{path}", "kind": "write", "path": path, **here} for path in _own(release)),
    ]


def _outside(release: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return who else on the host may not talk to a release."""
    return [
        {
            "id": f"door/{user}",
            "kind": "unix",
            "path": _socket(release),
            "user": user,
            "expect": "refused",
        }
        for user in _STRANGERS
    ]


def _controls(releases: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what shows that the refused things are there: root, and the gatekeeper at the door."""
    written = {path: None for release in releases for path in _own(release)}
    found: list[dict[str, Any]] = [
        {"id": "control/interfaces", "kind": "interfaces"},
        *({"id": f"control/{path}", "kind": "unix", "path": path} for path in HOST_SOCKETS),
        *({"id": f"control/{path}", "kind": "write", "path": path} for path in written),
        *(
            {
                "id": f"control/{release['release']}",
                "kind": "unix",
                "path": _socket(release),
                "user": GATEKEEPER,
            }
            for release in releases
        ),
    ]
    return [{**probe, "expect": "reached"} for probe in found]


def _own(release: Mapping[str, Any]) -> list[str]:
    """Return what belongs to a release and is not for it to change, as the unit and the host see it."""
    return [files_of(release["release"])[0], release["artifact"]["path"], "/usr/lib/airlock"]


def _socket(release: Mapping[str, Any]) -> str:
    return str(release["config"]["socket"])
