# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a question with the ``ollama`` package: AIRLOCK_KEY=workstation.key python3 ollama_client.py

At the level ``high`` also AIRLOCK_CERT=alice.pem AIRLOCK_CERT_KEY=alice.key, the client certificate and its key.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from ollama import Client

context = ssl.create_default_context(cafile=os.environ.get("AIRLOCK_CA", "ca.pem"))
if "AIRLOCK_CERT" in os.environ:
    context.load_cert_chain(os.environ["AIRLOCK_CERT"], os.environ["AIRLOCK_CERT_KEY"])
key = Path(os.environ["AIRLOCK_KEY"]).read_text().strip()
client = Client(
    host=os.environ.get("AIRLOCK_URL", "https://ai.home.arpa:8443"),
    headers={"Authorization": f"Bearer {key}"},
    verify=context,
)
for part in client.chat(
    model="chat", messages=[{"role": "user", "content": "Say hello."}], stream=True
):
    print(part.message.content or "", end="", flush=True)
print()
