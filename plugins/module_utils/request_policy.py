# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a request may pass the front door: its credential and its body.

A body is parsed once, checked field by field and written anew, so that what was checked is what
is sent. Which fields there are is data (``roles/gateway/files/routes/bodies.json``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import canonical, request_fields
from .errors import AirlockError

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 32
# A value takes about a hundred bytes for as long as its request is served, and many are at a time.
MAX_VALUES = 2**15


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
    """What one backend does at a path, and the body that it takes there.

    ``modes`` are the service modes that it serves, ``rule`` says what may stand in the body;
    ``rename`` gives a field the name that the backend knows, ``drop`` names fields that are for a
    cloud service and go no further, ``defaults`` are for what was not given, ``force`` for what
    the client has no say in, ``salt`` is the field that keeps prompt caches of keys apart, or "".
    """

    path: str
    kind: str
    dialect: str
    modes: tuple[str, ...] = ()
    rule: request_fields.Rule = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    force: Mapping[str, Any] = field(default_factory=dict)
    salt: str = ""


def forms(document: Any, *, where: str) -> dict[str, Route]:
    """Return of each dialect a route that has its body, and no path yet.

    ``{"rules": {NAME: RULE}, "groups": {NAME: {FIELD: RULE}}, "dialects": {DIALECT: {groups,
    fields, required, media, rename, drop, defaults}}}``; a RULE is that of :mod:`request_fields`.
    Raises AirlockError for anything that is not understood.
    """
    try:
        return {
            dialect: _form(dialect, body, document, f"{where}: {dialect}")
            for dialect, body in document["dialects"].items()
        }
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise AirlockError.refuse(
            "these are not the forms of bodies", found=repr(exc), where=where
        ) from exc


def _form(dialect: str, body: Any, document: Any, where: str) -> Route:
    fields = dict(body["fields"])
    for group in body["groups"]:
        fields.update(document["groups"][group])
    rule = {"type": "object", "fields": fields, "required": body["required"]}
    if "media" in body:
        rule["media"] = body["media"]
    rule = request_fields.resolve(rule, document["rules"])
    request_fields.check_rule(rule, where)
    return Route(
        "",
        "",
        dialect,
        rule=rule,
        rename=body.get("rename", {}),
        drop=tuple(body.get("drop", ())),
        defaults=body.get("defaults", {}),
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


def parse_body(data: bytes) -> dict[str, Any]:
    """Parse a body; nothing is known of its fields yet. Raises Refusal (413 or 400)."""
    if len(data) > MAX_BODY_BYTES:
        raise Refusal(413, "body_too_large", f"The body is larger than {MAX_BODY_BYTES} bytes.")
    try:
        body = canonical.parse(
            data,
            where="the body",
            max_bytes=MAX_BODY_BYTES,
            max_depth=MAX_DEPTH,
            max_values=MAX_VALUES,
            parse_float=_finite,
        )
    except AirlockError as exc:
        raise Refusal(400, "bad_json", _sentence(exc)) from exc
    if b"\\u" in data:
        serialise(body)  # an escape may be half of a surrogate pair
    if not isinstance(body, dict):
        raise Refusal(400, "bad_field", "The body must be an object.")
    return body


def model_of(body: Mapping[str, Any]) -> str:
    """Return the model that a body asks for. Raises Refusal (400)."""
    if "model" not in body:
        raise Refusal(400, "bad_field", "The field 'model' is missing.", "model")
    if not isinstance(body["model"], str):
        raise Refusal(400, "bad_field", "The field 'model' must be a string.", "model")
    return body["model"]


def check_body(body: dict[str, Any], route: Route) -> dict[str, Any]:
    """Check a parsed body field by field; return what may be sent on. Raises Refusal (400)."""
    # At the top level null means "not given" of every field that there is: clients write all that they know.
    known = route.rule["fields"]
    body = {name: value for name, value in body.items() if value is not None or name not in known}
    try:
        request_fields.check_value(body, route.rule)
    except request_fields.FieldError as exc:
        raise Refusal(400, "bad_field", _sentence(exc), exc.path) from exc
    body = {name: value for name, value in body.items() if name not in route.drop}
    for name, target in route.rename.items():
        if name in body:
            if target in body:
                raise Refusal(
                    400, "bad_field", f"The fields '{name}' and '{target}' mean the same.", name
                )
            body[target] = body.pop(name)
    return {**_filled(body, route.defaults), **route.force}


def serialise(body: Any) -> bytes:
    """Return the bytes of a checked body. Raises Refusal (400) for text that is not Unicode."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:  # half of a surrogate pair, written as an escape
        raise Refusal(400, "bad_json", "The body holds text that is not Unicode.") from exc


def _filled(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` with the defaults for what it does not give, inside its objects too."""
    filled = {**defaults, **body}
    for name, default in defaults.items():
        if isinstance(default, dict) and isinstance(filled[name], dict):
            filled[name] = _filled(filled[name], default)
    return filled


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise AirlockError("a number is too large.")
    return number


def _sentence(exc: AirlockError) -> str:
    text = str(exc)
    return text[0].upper() + text[1:]
