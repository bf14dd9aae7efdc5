# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a front door without pause until its standard input ends. It is sent to the client.

python3 -c ... ADDRESS HEADER CERTIFICATE TOKENS: HEADER is a file with a line as curl takes it, CERTIFICATE begins the
names of a .pem and a .key, TOKENS are those of a stream. Says ``ready`` when every way of asking was answered, and in
the end prints [way, began, ended, outcome, served certificate] of each request; times as time.time() has them.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

PAUSE = 0.25
DONE = b"data: [DONE]\n\n"

address, header, certificate, tokens = sys.argv[1:]
name, _colon, value = Path(header).read_text().strip().partition(": ")
headers = {name: value, "Content-Type": "application/json"}
context = ssl.create_default_context()
context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
story = {
    "model": "chat",
    "messages": [{"role": "user", "content": "Tell a very long story about a lighthouse."}],
    "max_tokens": int(tokens),
    "stream": True,
    "logit_bias": {"2": -100},  # the end of an answer, which would be too early
}

asked: list[tuple[str, float, float, str, str]] = []
answered: set[str] = set()
stop = threading.Event()


def connection() -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(address, 8443, context=context, timeout=60)


def ask(way: str, door: http.client.HTTPSConnection, path: str, body: Any = None) -> bool:
    """Return whether it was answered in full."""
    began, served = time.time(), ""
    try:
        if door.sock is None:
            door.connect()
        served = hashlib.sha256(door.sock.getpeercert(binary_form=True)).hexdigest()
        door.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        answer = door.getresponse()
        answered.add(way)
        data = answer.read()
        whole = answer.status != 200 or way != "stream" or data.endswith(DONE)
        outcome = str(answer.status) if whole else "broken off"
    except (OSError, http.client.HTTPException) as exc:
        outcome = type(exc).__name__
        door.close()
    asked.append((way, began, time.time(), outcome, served))
    return outcome == "200"


def newcomer() -> None:
    while not stop.wait(PAUSE):
        door = connection()
        ask("newcomer", door, "/v1/models")
        door.close()


def regular() -> None:
    door = connection()
    while not stop.wait(PAUSE):
        ask("regular", door, "/v1/embeddings", {"model": "embed", "input": "a lighthouse"})


def stream() -> None:
    door, answered_in_full = connection(), True
    while not stop.wait(0 if answered_in_full else PAUSE):  # whatever happens, happens to a stream
        answered_in_full = ask("stream", door, "/v1/chat/completions", story)


threads = [threading.Thread(target=way) for way in (newcomer, regular, stream)]
for thread in threads:
    thread.start()
while len(answered) < len(threads):
    time.sleep(0.05)
print("ready", flush=True)
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
print(json.dumps(asked))
