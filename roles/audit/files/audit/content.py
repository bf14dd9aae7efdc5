# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked and answered, in a file for each day that is thrown away whole."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


class Content:
    """Keeps texts as the policy says: ``full``, ``redacted``, or not at all with ``digest``."""

    def __init__(self, directory: Path, policy: str):
        self._directory = directory
        self.policy = policy

    def keep(self, document: dict[str, Any]) -> None:
        """Append ``{"id", "policy", "prompt", "response"}``. Raises OSError.

        The gatekeeper, which sees the texts anyway, redacts them; what it made for another policy, that of
        before, is not kept.
        """
        if self.policy == "digest" or document.get("policy") != self.policy:
            return
        now = datetime.now(timezone.utc)
        line = json.dumps({"time": now.isoformat(timespec="seconds"), **document}) + "\n"
        path = self._directory / f"{now:%Y-%m-%d}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o600), "wb", buffering=0) as handle:
            data = line.encode()
            if handle.write(data) != len(data):
                raise OSError(28, "the disk is full")
