# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer of the audit trail (``python3 -I <this directory>``): who is recorded cannot write it anew.

The listening socket is handed over by systemd (sd_listen_fds(3)). Exit status 78 (EX_CONFIG of sysexits.h) says
that the trail cannot be gone on with.
"""

from __future__ import annotations

import argparse
import os
import pwd
import signal
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "airlock.pyz"))

from airlock import audit_key, audit_segments
from airlock.errors import AirlockError
from airlock.releases_program import notify
from content import Content
from counts import Counts
from server import Server
from trail import Trail, Unwritable

_FIRST_FD = 3  # SD_LISTEN_FDS_START
_EX_CONFIG = 78


def _listener() -> socket.socket:
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise AirlockError.refuse(
            "the writer got no socket",
            expected="one listening socket from systemd",
            fix="start airlock-audit.socket, which brings airlock-audit.service along",
        )
    return socket.socket(fileno=_FIRST_FD)


def _stop_socket() -> socket.socket:
    """Return a socket that is readable once the process is told to stop (signal.set_wakeup_fd)."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    return reader


def _server(options: argparse.Namespace) -> Server:
    listener = _listener()
    trail = Trail(
        options.directory,
        options.key,
        segment_bytes=options.segment_bytes,
        keep_days=options.keep_days,
        keep_bytes=options.keep_bytes,
    )
    content = Content(options.content, options.policy)
    counts = Counts(options.lines_per_client, options.lines_for_all, time.monotonic())
    return Server(listener, pwd.getpwnam(options.peer).pw_uid, trail, content, counts)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audit")
    parser.add_argument("--directory", type=Path, default=Path(audit_segments.DIRECTORY))
    parser.add_argument("--key", type=Path, default=Path(audit_key.PATH))
    parser.add_argument("--content", type=Path, default=Path("/var/log/airlock/content"))
    parser.add_argument("--policy", choices=["digest", "redacted", "full"], default="digest")
    parser.add_argument("--peer", default="airlock-gatekeeper", help="user that may send records")
    parser.add_argument("--segment-bytes", type=int, default=8 * 1024 * 1024)
    parser.add_argument("--keep-days", type=int, default=90)
    parser.add_argument("--keep-bytes", type=int, default=4 * 1024**3)
    parser.add_argument("--lines-per-client", type=int, default=200)
    parser.add_argument("--lines-for-all", type=int, default=1000)
    return parser


if __name__ == "__main__":
    os.umask(0o077)
    try:
        server = _server(_arguments().parse_args())
    except (AirlockError, OSError, KeyError, Unwritable) as exc:
        print(f"audit: {exc}", file=sys.stderr)
        sys.exit(_EX_CONFIG)
    stop = _stop_socket()
    notify("READY=1")
    server.run(stop)
