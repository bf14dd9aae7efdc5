# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes that the backends are known to have, and the few of them that are served.

The catalogues are data (``roles/gateway/files/routes``), one per backend. A request is compared
with them byte by byte, without decoding anything: there is one spelling of each route. A route
that is served names its dialect; a known one that does not is there so that tests can knock at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import canonical, dialects, request_policy
from .errors import AirlockError
from .files import read_limited
from .request_policy import Refusal, Route

HEALTH = "health"
LIST = "list"
KINDS = ("infer", "embed", LIST, HEALTH, "admin")
MODELS = "openai_models"
TAGS = "ollama_tags"
OWN = ("/health", "/healthz")
"""Routes of the gatekeeper itself, whatever runs behind it."""

_LISTS = (MODELS, TAGS)
_BODIES = "bodies.json"
_LIMIT = 4 * 1024 * 1024  # bytes of a file


@dataclass(frozen=True)
class Served:
    """A method and path that a client may ask, with the route of each backend that has it."""

    path: str
    kind: str
    dialect: str
    backends: Mapping[str, Route]

    def need(self, backends: Iterable[str]) -> None:
        """Refuse what none of the ``backends`` has that run here. Raises Refusal (404)."""
        if not self.backends.keys() & set(backends):
            raise Refusal(404, "unknown_route", "There is no such route here.")

    def on(self, backend: str) -> Route:
        """Return the route on ``backend``. Raises Refusal (404)."""
        route = self.backends.get(backend)
        if route is None:
            raise Refusal(404, "unknown_route", "The model does not have this route.")
        return route


class Catalogue:
    """What is served."""

    def __init__(self, forms: Mapping[str, Route], documents: Iterable[tuple[str, Any]]):
        """Take the form of each dialect, and ``(where, document)`` of each backend's catalogue::

            {"backend", "dated", "versions", "source", "force": {DIALECT: {FIELD: VALUE}},
             "salt": {DIALECT: FIELD}, "routes": [{method, path, kind, dialect, modes, queries}]}

        Raises AirlockError for anything that is not understood.
        """
        self._served = {("GET", path): Served(path, HEALTH, dialects.CHAT, {}) for path in OWN}
        for where, document in documents:
            try:
                for entry in document["routes"]:
                    self._add(entry, document, forms, where)
            except (KeyError, TypeError, AttributeError) as exc:
                raise AirlockError.refuse(
                    "this is not a route catalogue", found=repr(exc), where=where
                ) from exc

    def find(self, method: str, target: str) -> Served:
        """Return what a request line asks for (RFC 9112 section 3.2).

        Only the exact spelling of a listed path is found: no query but a listed one, no encoding,
        no dot segments, no absolute form. Raises Refusal (404).
        """
        served = self._served.get((method, target))
        if served is None:
            raise Refusal(404, "unknown_route", "There is no such route here.")
        return served

    def dialect(self, method: str, target: str) -> str:
        """Return the dialect in which a request has to be answered, whatever came of it."""
        served = self._served.get((method, target))
        return served.dialect if served else dialects.CHAT

    def paths(self, backends: Iterable[str]) -> list[str]:
        """Return the paths that a key may name where the ``backends`` run, sorted."""
        running = set(backends)
        return sorted(
            {served.path for served in self._served.values() if served.backends.keys() & running}
        )

    def _add(self, entry: Any, document: Any, forms: Mapping[str, Route], where: str) -> None:
        path, place = entry["path"], f"{where}: {entry['method']} {entry['path']}"
        route = _route(entry, document, forms, place)
        if not route.dialect:
            return
        for target in (path, *(f"{path}?{query}" for query in entry.get("queries", ()))):
            at = (entry["method"], target)
            served = self._served.get(at, Served(path, route.kind, route.dialect, {}))
            if (served.kind, served.dialect) != (route.kind, route.dialect):
                raise AirlockError.refuse("two backends differ about a route", where=place)
            backends = {**served.backends, document["backend"]: route}
            self._served[at] = replace(served, backends=backends)


def load(directory: str) -> Catalogue:
    """Return what the files of ``directory`` let clients ask. Raises AirlockError and OSError."""
    # Bounds may be floats, which canonical.loads would refuse.
    documents = {
        str(path): canonical.parse(read_limited(str(path), _LIMIT), where=str(path))
        for path in sorted(Path(directory).glob("[!.]*.json"))
    }
    bodies = str(Path(directory, _BODIES))
    forms = request_policy.forms(documents.pop(bodies, None), where=bodies)
    return Catalogue(forms, documents.items())


def _route(entry: Any, document: Any, forms: Mapping[str, Route], where: str) -> Route:
    check_path(entry["path"], where)
    kind, dialect = entry["kind"], entry.get("dialect", "")
    if kind not in KINDS:
        raise AirlockError.refuse(
            "the kind is unknown", expected=", ".join(KINDS), found=kind, where=where
        )
    allowed = _LISTS if kind == LIST else forms if kind in ("infer", "embed") else ()
    if dialect and dialect not in allowed:
        raise AirlockError.refuse(
            f"a route of the kind {kind} cannot be served so",
            expected=", ".join(allowed) or "no dialect",
            found=dialect,
            where=where,
        )
    if not dialect or kind == LIST:
        return Route(entry["path"], kind, dialect)
    return replace(
        forms[dialect],
        path=entry["path"],
        kind=kind,
        modes=tuple(entry["modes"]),
        force=document.get("force", {}).get(dialect, {}),
        salt=document.get("salt", {}).get(dialect, ""),
    )


def unserved(document: Mapping[str, Any], control: str) -> list[dict[str, Any]]:
    """Return a request for each route of a backend that no client may find, with a good key.

    They are in the form of the module ``api_probe``, for the control of that identifier.
    """
    return [
        {
            "id": f"{entry['kind']} route of {document['backend']}",
            "control": control,
            "method": entry["method"],
            "path": entry["path"].replace("{id}", "0"),
            "expect_status": 404,
            **({"body": {}} if entry["method"] == "POST" else {}),
        }
        for entry in document["routes"]
        if "dialect" not in entry
    ]


def check_path(path: str, where: str) -> None:
    """Refuse a catalogued path that has more than one spelling. Raises AirlockError."""
    plain = path.isascii() and path.isprintable() and not set(path) & set("%?#\\; ")
    if not plain or not path.startswith("/") or "//" in path or {".", ".."} & set(path.split("/")):
        raise AirlockError.refuse(
            "this path has more than one spelling", found=repr(path), where=where
        )
