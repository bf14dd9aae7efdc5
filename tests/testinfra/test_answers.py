# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client of the house gets, from the client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Api

EXAMPLES = Path(__file__).parents[2] / "examples/clients"
PROGRAM = """
import sys
from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], api_key=open(sys.argv[2]).read().strip(), timeout=120, max_retries=0)
question = {"model": "chat", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
print(client.chat.completions.create(**question).choices[0].message.content)
print("".join(part.choices[0].delta.content or "" for part in client.chat.completions.create(**question, stream=True)
              if part.choices))
print(len(client.embeddings.create(model="embed", input="hello").data[0].embedding))
print(*sorted(model.id for model in client.models.list()))
"""


def test_a_chat_in_one_piece(api: Api) -> None:
    answer = api.chat("What is the capital of France?", max_tokens=40)
    assert (answer.rc, answer.status) == (0, 200), answer.text
    choice = answer.json()["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"].strip()


def test_a_streamed_chat(api: Api) -> None:
    answer = api.chat("Count from one to five.", "--no-buffer", max_tokens=40, stream=True)
    assert (answer.rc, answer.status) == (0, 200), answer.text
    lines = answer.text.splitlines()
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    assert len(choices) > 3
    assert "".join(choice["delta"].get("content") or "" for choice in choices).strip()


def test_embeddings_from_the_second_service(api: Api) -> None:
    texts = ["a cat", "a kitten", "a firewall"]
    answer = api.ask("/v1/embeddings", {"model": "embed", "input": texts})
    assert answer.status == 200, answer.text
    cat, kitten, firewall = (entry["embedding"] for entry in answer.json()["data"])
    assert len(cat) == len(kitten) == len(firewall) > 100

    def likeness(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert likeness(cat, kitten) > max(likeness(cat, firewall), likeness(kitten, firewall))


def test_the_services_are_listed(api: Api, intent: dict[str, dict[str, object]]) -> None:
    answer = api.ask("/v1/models")
    assert answer.status == 200, answer.text
    assert {model["id"] for model in answer.json()["data"]} == set(intent["airlock_services"])


def test_the_stock_openai_client_works_unchanged(
    api: Api, intent: dict[str, dict[str, object]], controller: tuple[Path, Path]
) -> None:
    authority, key = controller
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{api.url}/v1", str(key)],
        env={**os.environ, "SSL_CERT_FILE": str(authority)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *answers, dimensions, models = done.stdout.splitlines()
    assert "".join(answers).strip()
    assert int(dimensions) > 100
    assert models.split() == sorted(intent["airlock_services"])


@pytest.mark.parametrize(
    "example", [["bash", "ask.sh", "Say hello."], [sys.executable, "openai_client.py"]]
)
def test_the_examples_work_as_they_are(
    api: Api, controller: tuple[Path, Path], example: list[str]
) -> None:
    authority, key = controller
    where = {"AIRLOCK_URL": api.url, "AIRLOCK_CA": str(authority), "AIRLOCK_KEY": str(key)}
    done = subprocess.run(
        example,
        cwd=EXAMPLES,
        env={**os.environ, **where},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.removesuffix("data: [DONE]\n\n").strip()


@pytest.mark.parametrize("address", [0, 1], ids=["IPv4", "IPv6"])
def test_it_answers_at_each_of_its_addresses(
    api: Api, intent: dict[str, list[str]], address: int
) -> None:
    name = intent["airlock_server_addresses"][address]
    host = f"[{name}]" if ":" in name else name
    assert api.ask("/v1/models", url=f"https://{host}:8443").status == 200
