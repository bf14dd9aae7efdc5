# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a service of the house one question and print the answer, with nothing but Python's standard library.

Usage: ask.py URL KEY_FILE [--ca FILE] [--model NAME] [--stream] QUESTION...
"""

from __future__ import annotations

import argparse
import http.client
import json
import ssl
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit


def streamed(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the pieces of an answer that comes as server-sent events."""
    for line in lines:
        data = line.removeprefix(b"data: ").strip()
        if line.startswith(b"data: ") and data != b"[DONE]":
            for choice in json.loads(data)["choices"]:
                yield choice["delta"].get("content") or ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask a service of the house one question.")
    parser.add_argument("url", help="base of the API, like https://ai.home.arpa:8443/v1")
    parser.add_argument("key_file", type=Path, help="file with the API key")
    parser.add_argument("--ca", help="certificate authority, by default the system's")
    parser.add_argument("--model", default="chat")
    parser.add_argument("--stream", action="store_true", help="print the answer while it is made")
    parser.add_argument("question", nargs="+")
    options = parser.parse_args()

    url = urlsplit(options.url)
    question = {"role": "user", "content": " ".join(options.question)}
    body = {"model": options.model, "messages": [question], "stream": options.stream}
    headers = {
        "Authorization": f"Bearer {options.key_file.read_text().strip()}",
        "Content-Type": "application/json",
    }
    connection = http.client.HTTPSConnection(
        url.netloc, timeout=300, context=ssl.create_default_context(cafile=options.ca)
    )
    try:
        connection.request("POST", f"{url.path}/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
    except OSError as exc:
        sys.exit(f"{options.url} cannot be asked: {exc}")
    if answer.status != 200:
        sys.exit(f"{options.url} answered {answer.status}: {answer.read(2000).decode()}")
    if options.stream:
        for piece in streamed(answer):
            print(piece, end="", flush=True)
        print()
    else:
        print(json.load(answer)["choices"][0]["message"]["content"])


if __name__ == "__main__":
    main()
