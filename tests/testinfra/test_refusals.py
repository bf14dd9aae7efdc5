# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client of the house is refused, from the client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from testinfra.host import Host

if TYPE_CHECKING:
    from conftest import Api

CONNECT = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def reached(port):
    try:
        socket.create_connection((sys.argv[1], port), timeout=1.5).close()
    except OSError:
        return False
    return True

ports = json.loads(sys.argv[2])
with ThreadPoolExecutor(len(ports)) as pool:
    print(json.dumps([port for port, open_ in zip(ports, pool.map(reached, ports)) if open_]))
"""


def test_no_key_no_answer(api: Api) -> None:
    assert api.ask("/v1/models", key=False).status == 401


def test_a_wrong_key_is_no_key(api: Api) -> None:
    wrong = api.key[:-1] + ("a" if api.key[-1] != "a" else "b")
    header = f"Authorization: Bearer {wrong}"
    assert api.ask("/v1/models", None, "--header", header, key=False).status == 401


def test_another_authority_fails_the_handshake(api: Api) -> None:
    others = ["--cacert", "/etc/ssl/certs/ISRG_Root_X1.pem", "--capath", "/nonexistent"]
    answer = api.ask("/v1/models", None, *others)
    assert (answer.rc, answer.status, answer.text) == (60, 0, "")


def test_nothing_in_the_clear(api: Api) -> None:
    answer = api.ask("/v1/models", url=f"http://{api.address}:8443")
    assert answer.rc in (52, 56)
    assert (answer.status, answer.text) == (0, "")


def test_nothing_older_than_tls_1_3(api: Api) -> None:
    assert api.ask("/v1/models", None, "--tls-max", "1.2").rc == 35


@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat", "/metrics", "/slots", "/props", "/"])
def test_an_unlisted_route_is_not_there(api: Api, path: str) -> None:
    assert api.ask(path).status == 404


@pytest.mark.parametrize("field", ["cache_prompt", "id_slot", "no_such_field"])
def test_an_unlisted_field_is_refused_by_name(api: Api, field: str) -> None:
    answer = api.chat("Hello", **{field: 1})
    assert answer.status == 400
    assert field in answer.text


def test_a_service_that_does_not_exist_is_refused(api: Api) -> None:
    assert api.chat("Hello", model="gpt-4").status == 404


@pytest.mark.parametrize("body", ["{", "[]", '{"model": "chat", "model": "embed"}', "null"])
def test_a_body_that_is_no_request_is_refused(api: Api, body: str) -> None:
    sent = ["--header", "Content-Type: application/json", "--data-binary", body]
    assert api.ask("/v1/chat/completions", None, *sent).status == 400


def test_no_other_port_answers(api: Api, client: Host) -> None:
    ports = [21, 22, 53, 80, 111, 443, 3000, 5000, 6333, 8000, 8080, 8443, 9090, 11434]
    done = client.run("python3 -c %s %s %s", CONNECT, api.address, json.dumps(ports))
    assert json.loads(done.stdout) == [8443]
