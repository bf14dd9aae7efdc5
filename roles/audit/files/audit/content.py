# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked and answered, in a file for each day that is thrown away whole."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import room

# Of what the trail leaves to the rest of the host. Texts leave more, or they would end the trail, without which
# nothing is served.
_RESERVES = 2


class Content:
    """Keeps texts as the policy says: ``full``, ``redacted``, or not at all with ``digest``."""

    def __init__(self, directory: Path, policy: str):
        self._directory = directory
        self.policy = policy
        self._full = False

    def keep(self, document: dict[str, Any]) -> None:
        """Append ``{"id", "policy", "prompt", "response"}``, unless the room is short. Raises OSError.

        The gatekeeper, which sees the texts anyway, redacts them; what it made for another policy, that of
        before, is not kept.
        """
        if self.policy == "digest" or document.get("policy") != self.policy:
            return
        now = datetime.now(timezone.utc)
        line = json.dumps({"time": now.isoformat(timespec="seconds"), **document}) + "\n"
        data = line.encode()
        if not self._fits(len(data)):
            return
        path = self._directory / f"{now:%Y-%m-%d}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            room.append(descriptor, data)
        finally:
            os.close(descriptor)

    def _fits(self, size: int) -> bool:
        """Tell whether a text leaves enough room, and say once when one does not."""
        free, reserve = room.left(self._directory)
        if free - size >= _RESERVES * reserve:
            # Where there is hardly any room, short texts fit and long ones do not: that is one shortage.
            self._full = self._full and free < (_RESERVES + 1) * reserve
            return True
        if not self._full:
            print(
                f"<3>{self._directory}: the disk is nearly full, texts are not kept",
                file=sys.stderr,
                flush=True,
            )
        self._full = True
        return False
