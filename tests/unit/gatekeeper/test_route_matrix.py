# SPDX-License-Identifier: GPL-3.0-or-later
"""Every route that the backends are known to have, asked by every kind of caller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import api_keys, routes

from .conftest import FILES, House, Runtime, reply

CATALOGUES = {
    path.stem: json.loads(path.read_text())
    for path in (FILES / "routes").glob("*.json")
    if path.stem != "bodies"
}
BODIES: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": [{"role": "user", "content": "x"}]},
    "openai_completions": {"prompt": "x"},
    "openai_responses": {"input": "x"},
    "openai_embeddings": {"input": "x"},
    "anthropic_messages": {"messages": [{"role": "user", "content": "x"}]},
    "ollama_chat": {"messages": [{"role": "user", "content": "x"}]},
    "ollama_generate": {"prompt": "x"},
}
# Of every catalogue: what one backend has is asked of the others too.
KNOWN = sorted(
    {
        (entry["method"], entry["path"].replace("{id}", "x"))
        for document in CATALOGUES.values()
        for entry in document["routes"]
    }
    | {("GET", path) for path in routes.OWN}
)


class Matrix:
    """A house whose services run on one backend, and its callers."""

    def __init__(self, house: House, backend: str):
        self.house = house
        self.backend = backend
        self.served = {
            (entry["method"], entry["path"]): entry
            for entry in CATALOGUES[backend]["routes"]
            if "dialect" in entry
        }
        now = datetime.now(timezone.utc)
        revoked, struck_out = api_keys.generate("eve", ["chat", "embed"], days=1, now=now)
        struck_out = replace(struck_out, revoked=api_keys.format_time(now))
        elsewhere, record = api_keys.generate("frank", ["secret"], days=1, now=now)
        house.place_keys(house.record, house.expired_record, record, struck_out)
        self.callers = {
            "no key": None,
            "expired": house.expired,
            "revoked": revoked,
            "wrong scope": elsewhere,
            "right scope": house.key,
        }
        house.place(
            "slots.json",
            {
                "services": {
                    name: {"current": f"{name}-1", "mode": mode, "backend": backend}
                    for name, mode in (("chat", "chat"), ("embed", "embedding"), ("secret", "chat"))
                }
            },
        )

    def ask(self, method: str, path: str, key: str | None) -> tuple[int, Any]:
        """Return the status and the reason, for a list of models their names."""
        entry = self.served.get((method, path), {})
        service = "embed" if entry.get("kind") == "embed" else "chat"
        body = json.dumps({"model": service, **BODIES.get(entry.get("dialect"), {})})
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection = self.house.connect()
        connection.request(method, path, body if method == "POST" else None, headers)
        with connection.getresponse() as response:
            status, data = response.status, response.read()
        connection.close()
        document = json.loads(data) if data else {}
        if status != 200:
            error = document.get("error")
            return status, error.get("code") if isinstance(error, dict) else None
        listed = document.get("data", document.get("models"))
        return status, [entry.get("id", entry.get("name")) for entry in listed] if entry.get(
            "kind"
        ) == "list" else None

    def expected(self, method: str, path: str, caller: str) -> tuple[int, Any]:
        """Return what has to come of it."""
        if method == "GET" and path in routes.OWN:
            return 200, None
        entry = self.served.get((method, path))
        if entry is None:
            return 404, "unknown_route"
        refused = {"no key": "no_key", "expired": "expired_key", "revoked": "revoked_key"}
        if caller in refused:
            return 401, refused[caller]
        if entry["kind"] == "list":
            return 200, ["chat", "embed"] if caller == "right scope" else ["secret"]
        if caller != "right scope":
            return 404, "model_not_found"
        return (200, None) if self.forwards(entry) else (503, "not_isolated")

    def forwards(self, entry: dict[str, Any]) -> bool:
        """Return whether the backend can keep callers apart on a route."""
        salts = CATALOGUES[self.backend].get("salt", {})
        return bool(entry) and (self.backend == "llama_cpp" or entry["dialect"] in salts)


@pytest.fixture(params=sorted(CATALOGUES))
def matrix(house: House, request: pytest.FixtureRequest) -> Iterator[Matrix]:
    other = Runtime(house.base / "run/embed-1/http.sock")
    house.runtime.behave = other.behave = lambda handler: reply(handler, {"object": "answer"})
    other.requests = house.runtime.requests
    yield Matrix(house, request.param)
    other.close()


def test_every_known_route_by_every_caller(matrix: Matrix) -> None:
    found, wanted = {}, {}
    for method, path in KNOWN:
        for caller, key in matrix.callers.items():
            status, said = matrix.ask(method, path, key)
            expected = matrix.expected(method, path, caller)
            # Anthropic and Ollama name no code in their errors, HEAD has no body.
            found[method, path, caller] = (status, said if said is not None else expected[1])
            wanted[method, path, caller] = expected
    assert found == wanted
    assert len(found) == len(KNOWN) * 5 > 500
    assert [path for path, _headers, _body in matrix.house.runtime.requests] == [
        path
        for method, path in KNOWN
        if method == "POST" and matrix.forwards(matrix.served.get((method, path), {}))
    ], "the runtimes heard of nothing but what the right key asked"


def test_the_prompt_cache_of_a_backend_that_shares_it_is_kept_apart(house: House) -> None:
    """Each key has a salt of its own, and the client cannot choose it."""
    house.place(
        "slots.json",
        {"services": {"chat": {"current": "chat-1", "mode": "chat", "backend": "vllm"}}},
    )
    house.place_keys(house.record, house.third_record)
    for key in (house.key, house.key, house.third):
        assert house.chat(key=key)[0] == 200
    salts = [body["cache_salt"] for _path, _headers, body in house.runtime.requests]
    assert salts[0] == salts[1] != salts[2]
    assert len(salts[0]) == 64
    assert house.chat(cache_salt=salts[2])[0] == 400


def test_the_list_of_models_has_the_form_of_the_asking_client(house: House) -> None:
    status, answer = house.ask(key=house.key, headers={"anthropic-version": "2023-06-01"})
    assert status == 200
    assert [(model["type"], model["id"]) for model in answer["data"]] == [
        ("model", "chat"),
        ("model", "embed"),
    ]
    assert (answer["first_id"], answer["last_id"], answer["has_more"]) == ("chat", "embed", False)


def test_an_error_has_the_form_of_the_asking_client(house: House) -> None:
    status, answer = house.ask("POST", "/v1/messages", {}, key=house.key)
    assert (status, answer["type"]) == (400, "error")
    assert answer["error"]["type"] == "invalid_request_error"
    house.place(
        "slots.json",
        {"services": {"chat": {"current": "chat-1", "mode": "chat", "backend": "ollama"}}},
    )
    status, answer = house.ask("POST", "/api/chat", {}, key=house.key)
    assert (status, answer) == (400, {"error": "The field 'model' is missing."})
