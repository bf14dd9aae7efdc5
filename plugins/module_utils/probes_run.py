# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs probes in parallel, each in a child process as its user and inside its namespaces."""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import selectors
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from .commands import Run
from .errors import AirlockError
from .probes import Outcome, Probe
from .probes_kinds import attempt

PARALLEL = 32
"""Probes at a time; more would time each other instead of the network."""

_GRACE = 2.0
_ANSWER_BYTES = 2048  # below PIPE_BUF, so that one write is one answer, pipe(7)
_DETAIL_CHARACTERS = 200
_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000  # setns(2); os.setns is Python 3.12's
_NAMESPACES = (("net", _CLONE_NEWNET), ("mnt", _CLONE_NEWNS))
_ENGINES = ("docker", "podman")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class _Account:
    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass
class _Child:
    index: int
    pid: int
    pipe: int
    deadline: float


def run_all(probes: Sequence[Probe], timeout: float, run: Run) -> list[Outcome]:
    """Try every probe, each for at most ``timeout`` seconds; return their outcomes in order.

    A child that does not answer is killed shortly after: no probe can hang the caller.
    """
    outcomes: dict[int, Outcome] = {}
    units = {probe.unit for probe in probes if probe.unit}
    containers = {probe.container for probe in probes if probe.container}
    pids: dict[tuple[str, str], int | Outcome] = {
        ("", ""): 0,
        **{(unit, ""): _main_pid(unit, run) for unit in units},
        **{("", container): _container_pid(container, run) for container in containers},
    }
    waiting = list(enumerate(probes))[::-1]
    with selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < PARALLEL:
                index, probe = waiting.pop()
                started = _start(index, probe, pids[probe.unit, probe.container], timeout)
                if isinstance(started, Outcome):
                    outcomes[index] = started
                else:
                    selector.register(started.pipe, selectors.EVENT_READ, started)
            for child in _finished(selector):
                selector.unregister(child.pipe)
                outcomes[child.index] = _collect(child)
    return [outcomes[index] for index in range(len(probes))]


def _finished(selector: selectors.BaseSelector) -> list[_Child]:
    children: list[_Child] = [key.data for key in selector.get_map().values()]
    if not children:
        return []
    soonest = min(child.deadline for child in children)
    events = selector.select(max(0.0, soonest - time.monotonic()))
    ready = {key.data.pid for key, _event in events}
    now = time.monotonic()
    return [child for child in children if child.pid in ready or child.deadline <= now]


def _main_pid(unit: str, run: Run) -> int | Outcome:
    status, output = run(["systemctl", "show", "--property=MainPID,ActiveState", unit])
    properties = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    pid = int(properties.get("MainPID", "0")) if status == 0 else 0
    if pid:
        return pid
    state = properties.get("ActiveState", "unknown")
    return Outcome("error", detail=f"the unit {unit} has no process to look from (it is {state})")


def _container_pid(container: str, run: Run) -> int | Outcome:
    """Return the number of the container's first process; every engine that is there is asked."""
    found = [
        run([engine, "container", "inspect", "--format", "{{.State.Pid}}", container])
        for engine in _ENGINES
    ]
    # A set, for one engine may answer to both names.
    pids = {int(output) for status, output in found if status == 0} - {0}
    if len(pids) == 1:
        return pids.pop()
    state = "more than one engine runs it" if pids else "no engine runs it"
    return Outcome("error", detail=f"there is no container {container} to look from ({state})")


def _account(user: str) -> _Account | Outcome:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return Outcome("error", detail=f"there is no user {user} on this host")
    groups = os.getgrouplist(user, entry.pw_gid)
    return _Account(entry.pw_uid, entry.pw_gid, tuple(groups))


def _start(index: int, probe: Probe, pid: int | Outcome, timeout: float) -> _Child | Outcome:
    if isinstance(pid, Outcome):
        return pid
    account = _account(probe.user) if probe.user else None
    if isinstance(account, Outcome):
        return account
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(probe, pid, account, timeout, writer)
    os.close(writer)
    return _Child(index, child, reader, time.monotonic() + timeout + _GRACE)


def _child(probe: Probe, pid: int, account: _Account | None, timeout: float, pipe: int) -> NoReturn:
    """Become who and where the probe wants, try it, write the outcome, and end. Never returns."""
    try:
        try:
            _enter(pid)
            _become(account)
            outcome = attempt(probe, timeout)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the parent has to hear of it
            outcome = Outcome("error", detail=f"{type(exc).__name__}: {exc}")
        answer = asdict(outcome)
        answer["detail"] = outcome.detail[:_DETAIL_CHARACTERS]
        os.write(pipe, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _enter(pid: int) -> None:
    if not pid:
        return
    # Both are opened before either is entered: afterwards /proc is the unit's, if it has one.
    handles = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), flag) for name, flag in _NAMESPACES]
    for handle, flag in handles:
        if _LIBC.setns(handle, flag) != 0:
            number = ctypes.get_errno()
            raise AirlockError(f"setns: {os.strerror(number)}")
        os.close(handle)


def _become(account: _Account | None) -> None:
    if account is None or (account.uid == os.geteuid() and os.geteuid() != 0):
        return
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)


def _collect(child: _Child) -> Outcome:
    """Read the answer of ``child`` if it gave one, and see to it that it is gone."""
    os.set_blocking(child.pipe, False)
    try:
        answer = os.read(child.pipe, _ANSWER_BYTES)
    except BlockingIOError:
        answer = b""
    os.close(child.pipe)
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    if not answer:
        return Outcome("error", detail="the probe gave no answer in time and was ended")
    return Outcome(**json.loads(answer))
