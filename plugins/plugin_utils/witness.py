# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of the ledger in the name of whoever runs the play, at the time of the controller."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..module_utils import ledger


def record(directory: Path, events: Sequence[ledger.Event]) -> list[dict[str, Any]]:
    """Add ``events`` to the ledger in the existing ``directory``. Raises AirlockError, OSError."""
    return ledger.append(
        str(directory),
        events,
        actor=f"{_user()}@{socket.gethostname()}",
        when=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user ID without a name; KeyError up to Python 3.12
        return f"uid-{os.getuid()}"
