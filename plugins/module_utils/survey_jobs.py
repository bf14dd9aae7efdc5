# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scheduled jobs that call a model: crontabs, periodic scripts, at jobs and systemd timers."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Any

from .errors import AirlockError
from .files import read_limited
from .state_files import text

CALLS = re.compile(
    r"ollama|llama-(?:server|cli)|vllm|localai|open-?webui|:11434\b|"
    r"(?:localhost|127\.0\.0\.1|\[::1\]):(?:8000|8080|1234|5000)\b|"
    r"/v1/(?:chat/)?completions|/v1/embeddings|api\.openai\.com|api\.anthropic\.com|OPENAI_",
    re.IGNORECASE,
)
"""What a line looks like that talks to a model, here or elsewhere."""

CRONTABS = (
    "/etc/crontab",
    "/etc/cron.d/*",
    "/var/spool/cron/crontabs/*",
    "/var/spool/cron/atjobs/*",
)
SCRIPTS = ("/etc/cron.hourly/*", "/etc/cron.daily/*", "/etc/cron.weekly/*", "/etc/cron.monthly/*")
TIMERS = ("/etc/systemd/system/*.timer", "/home/*/.config/systemd/user/*.timer")

_PROGRAM = re.compile(r"(?<![\w./-])(/[\w./-]+)")
_UNIT = re.compile(r"^Unit=(\S+)", re.MULTILINE)
_MAX_SCRIPT = 256 * 1024


def jobs(root: str = "/") -> list[dict[str, Any]]:
    """Return each line of a job that calls a model: ``where`` (file:line), ``via`` (what runs it) and
    ``calls`` (the part of the line that tells; never the line, which may hold a key).
    """
    base = root.rstrip("/")
    found = []
    for kind, patterns in (("cron", CRONTABS), ("cron", SCRIPTS), ("timer", TIMERS)):
        for path in sorted(path for pattern in patterns for path in glob.glob(base + pattern)):
            job = path if kind == "cron" else _service_of(path)
            found += _calls_in(base, job, text(path[len(base) :]))
    return found


def _calls_in(base: str, path: str, via: str) -> list[dict[str, Any]]:
    """Look into a job and, one step further, into the scripts that it runs."""
    found = []
    for script in (path, *_scripts_of(base, path)):
        for number, line in enumerate(_lines(script), 1):
            call = CALLS.search(line)
            if call and not line.lstrip().startswith("#"):
                where = f"{text(script[len(base) :])}:{number}"
                found.append({"where": where, "via": via, "calls": call[0]})
    return found


def _scripts_of(base: str, path: str) -> list[str]:
    programs = {program for line in _lines(path) for program in _PROGRAM.findall(line)}
    return sorted(f"{base}{program}" for program in programs if Path(base + program).is_file())


def _service_of(timer: str) -> str:
    named = _UNIT.search("\n".join(_lines(timer)))
    service = named[1] if named else Path(timer).stem + ".service"
    return str(Path(timer).parent / service)


def _lines(path: str) -> list[str]:
    """Return the lines of a small text file; nothing for programs and what cannot be read."""
    try:
        data = read_limited(path, _MAX_SCRIPT)
    except (AirlockError, OSError):
        return []
    return [] if b"\0" in data else data.decode("utf-8", "backslashreplace").splitlines()
