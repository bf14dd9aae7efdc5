# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is tried with the keys of a site, as requests for the module ``api_probe``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .key_scopes import Scope, wanted

SCOPE, LENGTH, CREDENTIAL = KINDS = ("scope", "length", "credential")

_MODELS = "/v1/models"
_CHAT = "/v1/chat/completions"
_STRANGER = f"aik_nobody_{'A' * 43}"
# More than is tried with one key; one that may ask less often would be used up by that.
_ENOUGH = 10


def attempts(
    keys: Mapping[str, Any],
    secrets: Mapping[str, str],
    services: Mapping[str, Any],
    controls: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return what each key must get and must not get, for the keys whose text is in ``secrets``.

    ``keys`` and ``services`` are ``airlock_api_keys`` and ``airlock_services``, ``controls`` names
    the control of each of ``KINDS``. The keys of ``secrets`` have the scope of those in ``keys`` without hours and
    networks, which might refuse all of it here and now. What is left out is in :func:`untried`. Raises AirlockError.
    """
    return [
        {
            **request,
            "key": secrets[name],
            "id": f"{request['id']} (key {name})",
            "control": controls[request["control"]],
        }
        for name, entry in keys.items()
        if name in secrets
        for request in _attempts(
            wanted(entry, f"airlock_api_keys.{name}")[0], secrets[name], services
        )
    ]


def _attempts(scope: Scope, secret: str, services: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if scope.certificate:
        yield _request(SCOPE, "without the certificate that it is bound to", 403)
        return
    if scope.routes and _MODELS not in scope.routes:
        yield _request(SCOPE, "a route that it does not open", 403)
    else:
        if _often(scope):
            yield _request(SCOPE, "a route that it opens", 200)
            yield _request(CREDENTIAL, "one key in two headers", 200, headers={"x-api-key": secret})
        yield _request(CREDENTIAL, "two keys", 400, headers={"api-key": _STRANGER})
    if (scope.routes and _CHAT not in scope.routes) or not _often(scope):
        return
    others = [name for name in services if name not in scope.services]
    if others:
        yield _chat(SCOPE, "a service that it does not open", 404, others[0], 1)
    chats = [
        name for name in scope.services if services.get(name, {}).get("mode", "chat") == "chat"
    ]
    if scope.max_tokens and chats:
        yield _chat(LENGTH, "too long an answer", 400, chats[0], scope.max_tokens + 1)


def untried(keys: Mapping[str, Any], control: str) -> list[dict[str, Any]]:
    """Return an evidence record for each of ``keys`` with bounds that :func:`attempts` does not try.

    ``keys`` are as in ``airlock_api_keys``. Each is a denial without a positive control, hence unproven. Raises
    AirlockError.
    """
    return [
        {
            "control": control,
            "vantage": "external",
            "probe": f"the {' and '.join(reasons)} of the key {name}",
            "expected": "answered within them, refused beyond",
            "observed": f"not tried: {'; '.join(reasons.values())}",
            "holds": True,
            "denial": True,
        }
        for name, entry in keys.items()
        if (reasons := _reasons(wanted(entry, f"airlock_api_keys.{name}")[0]))
    ]


def _reasons(scope: Scope) -> dict[str, str]:
    """Return why bounds of ``scope`` are not tried, by the name of each."""
    bounds = {
        "hours": (bool(scope.hours), "verify runs at one time of the day"),
        "networks": (bool(scope.networks), "verify asks from one place"),
        "certificate": (bool(scope.certificate), "verify has nobody's certificate"),
        "requests_per_minute": (not _often(scope), f"verify needs {_ENOUGH} requests a minute"),
    }
    return {name: reason for name, (is_there, reason) in bounds.items() if is_there}


def _often(scope: Scope) -> bool:
    return scope.requests_per_minute is None or scope.requests_per_minute >= _ENOUGH


def _request(control: str, name: str, status: int, **more: Any) -> dict[str, Any]:
    return {"id": name, "control": control, "path": _MODELS, "expect_status": status, **more}


def _chat(control: str, name: str, status: int, model: str, max_tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hello"}]
    body = {"model": model, "messages": messages, "max_tokens": max_tokens}
    return _request(control, name, status, path=_CHAT, method="POST", body=body)
