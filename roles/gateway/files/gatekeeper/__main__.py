# SPDX-License-Identifier: GPL-3.0-or-later
"""The gatekeeper: every request to a runtime passes here (``python3 -I <this directory>``).

The listening socket is handed over by systemd (sd_listen_fds(3)). Exit status 78 (EX_CONFIG of
sysexits.h) says that the configuration was refused, so that the unit is not restarted in a loop.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "airlock.pyz"))

import config
from aiohttp import web
from airlock.errors import AirlockError
from audit import Trail
from gate import Gate
from upstream import Runtimes

_FIRST_FD = 3  # SD_LISTEN_FDS_START
_EX_CONFIG = 78
_MAX_HEADER_BYTES = 8190


def _listener() -> socket.socket:
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise AirlockError.refuse(
            "the gatekeeper got no socket",
            expected="one listening socket from systemd",
            fix="start airlock-gatekeeper.service, which brings airlock-gatekeeper.socket along",
        )
    return socket.socket(fileno=_FIRST_FD)


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); without a notify socket there is nobody to tell."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.sendall(state.encode())


async def _serve(gate: Gate, listener: socket.socket, drain_seconds: float) -> None:
    server = web.Server(
        gate.handle,
        access_log=None,
        auto_decompress=False,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.SockSite(runner, listener)
    await site.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _notify("READY=1")
    await stop.wait()
    _notify("STOPPING=1")
    # systemd keeps the socket: who connects from now on waits for the next process.
    loop.remove_reader(listener.fileno())
    await gate.drain(drain_seconds)
    await runner.cleanup()


async def _main(options: argparse.Namespace) -> None:
    settings = config.load_settings(options.config / "settings.json")
    keys, slots = config.Keys(options.config), config.follow_slots(options.config)
    keys.get()
    slots.get()
    runtimes = Runtimes(options.runtimes, settings.idle_timeout)
    gate = Gate(
        config.load_catalogue(options.config / "routes.json"),
        keys,
        slots,
        runtimes,
        Trail(options.audit),
        settings,
    )
    try:
        await _serve(gate, _listener(), settings.drain_timeout)
    finally:
        await runtimes.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="gatekeeper")
    parser.add_argument("--config", type=Path, default=Path("/etc/airlock/gateway"))
    parser.add_argument("--runtimes", type=Path, default=Path("/run/airlock/runtime"))
    parser.add_argument(
        "--audit", type=Path, default=Path("/var/log/airlock/gatekeeper/audit.jsonl")
    )
    try:
        asyncio.run(_main(parser.parse_args()))
    except (AirlockError, OSError) as exc:
        print(f"gatekeeper: {exc}", file=sys.stderr)
        sys.exit(_EX_CONFIG)
