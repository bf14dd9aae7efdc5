# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A maintenance window on the host itself: opening, closing and seeing it.

Three things are open while it is: elements with a timeout in the sets of the ruleset, which the
kernel removes by itself, a marked fragment of the hosts file, because the host resolves no names,
and a timer that runs the closing service at the end, with or without a controller.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import stat
from collections.abc import Sequence
from typing import Any

from . import canonical, nft_table
from .commands import Run
from .errors import AirlockError
from .files import read_limited, write_atomic
from .windows import Destination

SERVICE = "airlock-window.service"
TIMER = "airlock-window.timer"
SETS = ("window4", "window6")

_COUNTERS = ("window_in", "window_out")
_MAX_BYTES = 1024 * 1024
_BEGIN, _END = "# BEGIN airlock window\n", "# END airlock window\n"
_FRAGMENT = re.compile(re.escape(_BEGIN) + "(?:[^#].*\n)*" + re.escape(_END))


class Host:
    """The window of the host whose files lie below ``root``; at most one is open at a time."""

    def __init__(self, run: Run, root: str = "/"):
        self.run = run
        self.hosts = os.path.join(root, "etc/hosts")
        self.record = os.path.join(root, "run/airlock/window.json")

    def elements(self) -> list[str]:
        """Return what the kernel lets the package manager reach now, as ``address . tcp . port``."""
        return sorted(_concatenation(entry) for found in self._sets().values() for entry in found)

    def pinned(self) -> bool:
        """Is there a fragment in the hosts file?"""
        return _FRAGMENT.search(self._hosts_text()) is not None

    def window(self) -> dict[str, Any] | None:
        """Return the record of the window that is open, or that ended and was not asked for yet."""
        try:
            data = read_limited(self.record, _MAX_BYTES)
        except FileNotFoundError:
            return None
        window: dict[str, Any] = canonical.loads(data, where=self.record)
        return window

    def matches(self, wanted: Sequence[Destination], minutes: int, reason: str) -> bool:
        """Is the very window open that is asked for?"""
        window = self.window()
        return (
            window is not None
            and "ended" not in window
            and (window["minutes"], window["reason"]) == (minutes, reason)
            and window["destinations"] == [destination.as_dict() for destination in wanted]
            and self.elements() == _elements(wanted)
        )

    def open(
        self, wanted: Sequence[Destination], minutes: int, reason: str, now: int
    ) -> dict[str, Any]:
        """Open a window for ``minutes`` from ``now`` (seconds since 1970) and return its record.

        What is in the way of closing it comes first, the hole in the rules last; whatever fails
        leaves nothing open. Raises AirlockError and OSError.
        """
        if set(self._sets()) != set(SETS):
            raise AirlockError.refuse(
                "the loaded rules know no windows",
                expected=f"the sets {' and '.join(SETS)} in table {' '.join(nft_table.TABLE)}",
                fix="run the playbook 'site' with --tags egress first",
            )
        window = {
            "reason": reason,
            "minutes": minutes,
            "opened": now,
            "until": now + minutes * 60,
            "destinations": [destination.as_dict() for destination in wanted],
            "counted": self._counted(),
        }
        try:
            self._keep(window)
            self.run(["systemctl", "reset-failed", TIMER, SERVICE])  # fails where there is none
            self._must(
                [
                    "systemd-run",
                    "--quiet",
                    f"--on-active={minutes * 60}",
                    f"--unit={SERVICE}",
                    "--timer-property=AccuracySec=1s",
                ]
            )
            self._write_hosts(_complete(_without(self._hosts_text())) + _fragment(wanted))
            self._must(["nft", _addition(wanted, minutes * 60)])
        except BaseException:
            self.close(now)
            self.forget()
            raise
        return window

    def close(self, now: int) -> bool:
        """Close whatever is open; return whether anything was. Raises AirlockError and OSError.

        The record stays, with how it ended: at its deadline or before it, and the bytes that
        passed. Connections are cut by it: every packet of both directions is held against the sets.
        """
        was_open = bool(self.elements()) or self.pinned()
        for name in self._sets():
            self._must(["nft", "flush", "set", *nft_table.TABLE, name])
        self._write_hosts(_without(self._hosts_text()))
        window = self.window()
        if window is not None and "ended" not in window:
            was_open = True
            passed = nft_table.rose(window.pop("counted"), self._counted())
            self._keep(
                {
                    **window,
                    "closed": now,
                    "ended": "deadline" if now >= window["until"] else "closed",
                    "bytes_in": passed.get("window_in", 0),
                    "bytes_out": passed.get("window_out", 0),
                }
            )
        self.run(["systemctl", "stop", TIMER])  # fails where there is none
        return was_open

    def forget(self) -> None:
        """Drop the record, once somebody has it who keeps it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.record)

    def _sets(self) -> dict[str, list[Any]]:
        """Return the elements of each set that the loaded rules have."""
        answers = {
            name: self.run(["nft", "-j", "list", "set", *nft_table.TABLE, name]) for name in SETS
        }
        return {name: _entries(output) for name, (status, output) in answers.items() if status == 0}

    def _counted(self) -> dict[str, int]:
        counted = nft_table.counters(self.run, "bytes") or {}
        return {name: counted[name] for name in _COUNTERS if name in counted}

    def _keep(self, window: dict[str, Any]) -> None:
        os.makedirs(os.path.dirname(self.record), mode=0o755, exist_ok=True)
        write_atomic(self.record, canonical.dumps(window) + b"\n", mode=0o600)

    def _hosts_text(self) -> str:
        try:
            return read_limited(self.hosts, _MAX_BYTES).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""

    def _write_hosts(self, text: str) -> None:
        if text == self._hosts_text():
            return
        data = text.encode("utf-8", "surrogateescape")
        mode = stat.S_IMODE(os.stat(self.hosts).st_mode) if os.path.exists(self.hosts) else 0o644
        try:
            write_atomic(self.hosts, data, mode=mode)
        except OSError as exc:
            # Container engines mount a file over it, and no name can be put over a mount (rename(2)).
            if exc.errno != errno.EBUSY:
                raise
            with open(self.hosts, "wb") as handle:
                handle.write(data)

    def _must(self, command: list[str]) -> None:
        status, output = self.run(command)
        if status != 0:
            raise AirlockError.refuse(f"'{command[0]}' failed", found=output.strip()[:600])


def _entries(output: str) -> list[Any]:
    sets = [item["set"] for item in json.loads(output)["nftables"] if "set" in item]
    return [entry for found in sets for entry in found.get("elem", [])]


def _concatenation(entry: Any) -> str:
    """Return an element of ``nft -j`` (libnftables-json(5), ELEM and CONCAT) as nft writes it."""
    value = entry["elem"]["val"] if "elem" in entry else entry
    address, protocol, port = value["concat"]
    # nft 1.0 gives the number of the protocol.
    return f"{address} . {'tcp' if protocol == socket.IPPROTO_TCP else protocol} . {port}"


def _elements(wanted: Sequence[Destination]) -> list[str]:
    return sorted({destination.element() for destination in wanted})


def _addition(wanted: Sequence[Destination], seconds: int) -> str:
    """Return one transaction that adds every destination (nft(8), ELEMENT)."""
    commands = []
    for family in (4, 6):
        chosen = _elements([entry for entry in wanted if entry.family() == family])
        if chosen:
            timed = ", ".join(f"{element} timeout {seconds}s" for element in chosen)
            commands.append(f"add element {' '.join(nft_table.TABLE)} window{family} {{ {timed} }}")
    return "; ".join(commands)


def _fragment(wanted: Sequence[Destination]) -> str:
    """Return the marked lines for the hosts file (hosts(5)); literal addresses need none."""
    lines = sorted(
        {f"{entry.address} {entry.name}\n" for entry in wanted if entry.address != entry.name}
    )
    return _BEGIN + "".join(lines) + _END if lines else ""


def _without(text: str) -> str:
    """Return a hosts file without our fragment."""
    return _FRAGMENT.sub("", text)


def _complete(text: str) -> str:
    """Return a text whose last line has an end, so that another can follow."""
    return text if not text or text.endswith("\n") else text + "\n"
