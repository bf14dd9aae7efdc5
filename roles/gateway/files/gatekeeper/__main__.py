# SPDX-License-Identifier: GPL-3.0-or-later
"""The gatekeeper: every request to a runtime passes here (``python3 -I <this directory>``).

The listening socket is handed over by systemd (sd_listen_fds(3)). Exit status 78 (EX_CONFIG of
sysexits.h) says that the configuration was refused, so that the unit is not restarted in a loop.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import pwd
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "airlock.pyz"))

import config
from aiohttp import web
from airlock import routes
from airlock.errors import AirlockError
from airlock.releases_program import notify
from audit import Trail
from callers import Callers
from connections import Server
from gate import Gate
from isolation import Isolation
from metrics import Metrics
from models import Models
from screening import Screening
from upstream import Runtimes

_FIRST_FD = 3  # SD_LISTEN_FDS_START
_EX_CONFIG = 78
_HTTP, _METRICS = "airlock-gatekeeper.socket", "airlock-metrics.socket"
_SOCKETS = (_HTTP, _METRICS)  # systemd.socket(5), FileDescriptorName=


def _listeners() -> dict[str, socket.socket]:
    """Return the sockets that systemd hands over, by the names of their units."""
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    mine = os.environ.get("LISTEN_PID") == str(os.getpid())
    if not mine or sorted(names) != sorted(_SOCKETS):
        raise AirlockError.refuse(
            "the gatekeeper did not get its sockets",
            expected=f"{' and '.join(_SOCKETS)} from systemd",
            found=", ".join(names) if mine else "none",
            fix="start airlock-gatekeeper.service, which brings its sockets along",
        )
    return {name: socket.socket(fileno=_FIRST_FD + index) for index, name in enumerate(names)}


async def _serve(
    gate: Gate,
    metrics: Metrics,
    listeners: dict[str, socket.socket],
    peer: int,
    drain_seconds: float,
) -> None:
    listener = listeners[_HTTP]
    runner = web.ServerRunner(Server(gate, peer))
    await runner.setup()
    site = web.SockSite(runner, listener)
    await site.start()
    scraped = web.ServerRunner(web.Server(metrics.handle, access_log=None))
    await scraped.setup()
    await web.SockSite(scraped, listeners[_METRICS]).start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    notify("READY=1")
    await stop.wait()
    notify("STOPPING=1")
    # systemd keeps the socket: who connects from now on waits for the next process.
    for each in listeners.values():
        loop.remove_reader(each.fileno())
    await gate.drain(drain_seconds)
    await runner.cleanup()
    await scraped.cleanup()


async def _main(options: argparse.Namespace) -> None:
    settings = config.load_settings(options.config / "settings.json")
    keys, slots = config.Keys(options.config), config.follow_slots(options.config)
    keys.get()
    slots.get()
    runtimes = Runtimes(options.runtimes, settings.idle_timeout, settings.answer_timeout)
    trail = Trail(options.audit)
    metrics = Metrics(trail)
    gate = Gate(
        routes.load(str(options.config / "routes")),
        Callers(keys.get),
        Isolation(options.releases),
        slots,
        runtimes,
        trail,
        settings,
        Models(options.releases),
        metrics,
        Screening(options.config),
    )
    gc.freeze()  # tables and code stay: nobody needs to look through them for what is to be thrown away
    try:
        peer = pwd.getpwnam(options.peer).pw_uid
        await _serve(gate, metrics, _listeners(), peer, settings.drain_timeout)
    finally:
        await runtimes.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="gatekeeper")
    parser.add_argument("--config", type=Path, default=Path("/etc/airlock/gateway"))
    parser.add_argument("--releases", type=Path, default=Path("/etc/airlock/releases"))
    parser.add_argument("--runtimes", type=Path, default=Path("/run/airlock/runtime"))
    parser.add_argument("--audit", type=Path, default=Path("/run/airlock/audit/writer.sock"))
    parser.add_argument("--peer", default="airlock-edge", help="user that may send requests")
    try:
        asyncio.run(_main(parser.parse_args()))
    except (AirlockError, OSError) as exc:
        print(f"gatekeeper: {exc}", file=sys.stderr)
        sys.exit(_EX_CONFIG)
