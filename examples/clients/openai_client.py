# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a question with the ``openai`` package: AIRLOCK_KEY=workstation.key python3 openai_client.py

At the level ``high`` also AIRLOCK_CERT=alice.pem AIRLOCK_CERT_KEY=alice.key, the client certificate and its key.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from openai import DefaultHttpxClient, OpenAI

context = ssl.create_default_context(cafile=os.environ.get("AIRLOCK_CA", "ca.pem"))
if "AIRLOCK_CERT" in os.environ:
    context.load_cert_chain(os.environ["AIRLOCK_CERT"], os.environ["AIRLOCK_CERT_KEY"])
client = OpenAI(
    base_url=os.environ.get("AIRLOCK_URL", "https://ai.home.arpa:8443") + "/v1",
    api_key=Path(os.environ["AIRLOCK_KEY"]).read_text().strip(),
    http_client=DefaultHttpxClient(verify=context),
)
for event in client.chat.completions.create(
    model="chat", messages=[{"role": "user", "content": "Say hello."}], stream=True
):
    if event.choices:
        print(event.choices[0].delta.content or "", end="", flush=True)
print()
