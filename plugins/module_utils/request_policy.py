# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may pass the front door: routes, credentials and bodies; everything else is refused.

The route catalogue is data (``roles/gateway/files/routes.json``). A request is compared with it
byte by byte, without decoding anything: there is one spelling of each route. A body is parsed
once, checked field by field and written anew, so that what was checked is what is sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import canonical, request_fields
from .errors import AirlockError

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 32
KINDS = ("health", "models", "infer")


class Refusal(AirlockError):
    """A request that is answered here; the text may be shown to the client.

    ``status`` is the HTTP status, ``code`` the machine-readable reason, ``param`` the field.
    """

    def __init__(self, status: int, code: str, text: str, param: str | None = None):
        super().__init__(text)
        self.status = status
        self.code = code
        self.param = param


@dataclass(frozen=True)
class Route:
    """One method and path. ``modes`` are the service modes that it serves, ``upstream`` the path
    on the backend, ``rule`` the body's rule, ``rename``, ``defaults`` and ``force`` what becomes
    of its fields."""

    method: str
    path: str
    kind: str
    modes: tuple[str, ...] = ()
    upstream: str = ""
    rule: request_fields.Rule = field(default_factory=dict)
    rename: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    force: dict[str, Any] = field(default_factory=dict)


class Catalogue:
    """The routes that exist."""

    def __init__(self, routes: Iterable[Route]):
        self._routes = {(route.method, route.path): route for route in routes}

    @classmethod
    def from_document(cls, document: Any, *, where: str) -> Catalogue:
        """Build the catalogue from the parsed data file.

        ``{"routes": [{method, path, kind, modes, upstream, body}], "bodies": {NAME: {groups,
        fields, required, rename, defaults, force}}, "groups": {NAME: {FIELD: RULE}}}``.
        Raises AirlockError for anything that is not understood.
        """
        try:
            return cls([_route(entry, document, where) for entry in document["routes"]])
        except (KeyError, TypeError, AttributeError) as exc:
            raise AirlockError.refuse(
                "this is not a route catalogue", found=repr(exc), where=where
            ) from exc

    def find(self, method: str, target: str) -> Route:
        """Return the route of a request line's method and target (RFC 9112 section 3.2).

        Only the exact spelling of a listed path is found: no query, no encoding, no dot
        segments, no absolute form. Raises Refusal (404).
        """
        route = self._routes.get((method, target))
        if route is None:
            raise Refusal(404, "unknown_route", "There is no such route here.")
        return route


def _route(entry: Any, document: Any, where: str) -> Route:
    place = f"{where}: {entry['method']} {entry['path']}"
    check_path(entry["path"], place)
    if entry["kind"] not in KINDS:
        raise AirlockError.refuse(
            "the kind is unknown", expected=", ".join(KINDS), found=entry["kind"], where=place
        )
    if entry["kind"] != "infer":
        return Route(entry["method"], entry["path"], entry["kind"])
    check_path(entry["upstream"], place)
    body = document["bodies"][entry["body"]]
    fields = dict(body["fields"])
    for group in body.get("groups", []):
        fields.update(document["groups"][group])
    rule = {"type": "object", "fields": fields, "required": body["required"]}
    request_fields.check_rule(rule, place)
    return Route(
        entry["method"],
        entry["path"],
        entry["kind"],
        tuple(entry["modes"]),
        entry["upstream"],
        rule,
        body.get("rename", {}),
        body.get("defaults", {}),
        body.get("force", {}),
    )


def check_path(path: str, where: str) -> None:
    """Refuse a catalogued path that has more than one spelling. Raises AirlockError."""
    plain = path.isascii() and path.isprintable() and not set(path) & set("%?#\\; ")
    if not plain or not path.startswith("/") or "//" in path or {".", ".."} & set(path.split("/")):
        raise AirlockError.refuse(
            "this path has more than one spelling", found=repr(path), where=where
        )


def credential(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return the one key that a request presents, or None.

    ``Authorization: Bearer``, ``x-api-key`` and ``api-key`` are the same thing here; two different
    values are refused, whichever header a later reader would have believed. Raises Refusal (400).
    """
    found = set()
    for name, value in headers:
        name = name.lower()
        if name == "authorization":
            scheme, _space, text = value.strip().partition(" ")
            found.add(text.strip() if scheme.lower() == "bearer" else "")
        elif name in ("x-api-key", "api-key"):
            found.add(value.strip())
    if len(found) > 1:
        raise Refusal(400, "two_credentials", "The request carries two different keys.")
    return found.pop() if found else None


def read_body(data: bytes, route: Route) -> dict[str, Any]:
    """Parse and check the body of a request for ``route``; return what may be sent on.

    Raises Refusal: 413 when it is too large, 400 for everything else.
    """
    if len(data) > MAX_BODY_BYTES:
        raise Refusal(413, "body_too_large", f"The body is larger than {MAX_BODY_BYTES} bytes.")
    try:
        body = canonical.parse(
            data,
            where="the body",
            max_bytes=MAX_BODY_BYTES,
            max_depth=MAX_DEPTH,
            parse_float=_finite,
        )
    except AirlockError as exc:
        raise Refusal(400, "bad_json", _sentence(exc)) from exc
    try:
        request_fields.check_value(body, route.rule)
    except request_fields.FieldError as exc:
        raise Refusal(400, "bad_field", _sentence(exc), exc.path) from exc
    # At the top level null means "not given": it must not stand in the way of a default.
    body = {name: value for name, value in body.items() if value is not None}
    for name, target in route.rename.items():
        if name in body:
            if target in body:
                raise Refusal(
                    400, "bad_field", f"The fields '{name}' and '{target}' mean the same.", name
                )
            body[target] = body.pop(name)
    return {**route.defaults, **body, **route.force}


def serialise(body: dict[str, Any]) -> bytes:
    """Return the bytes of a checked body. Raises Refusal (400) for text that is not Unicode."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:  # half of a surrogate pair, written as an escape
        raise Refusal(400, "bad_json", "The body holds text that is not Unicode.") from exc


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise AirlockError("a number is too large.")
    return number


def _sentence(exc: AirlockError) -> str:
    text = str(exc)
    return text[0].upper() + text[1:]
