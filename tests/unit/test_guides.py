# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guide tells people to type works as it stands there."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import Authority
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificate_requests import (
    keep_clients,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope

ROOT = Path(__file__).resolve().parents[2]


def test_a_bundle_for_an_old_device(tmp_path: Path) -> None:
    with Authority.opened(tmp_path, datetime.now(timezone.utc)) as authority:
        authority.ensure(Scope.of(["ai.home.arpa"], []), 90)
        keep_clients(authority, {"alice": {}}, 90, 90)
    blocks = re.findall(
        r"```console\n(.*?)```", (ROOT / "docs/guides/certificates.md").read_text(), re.DOTALL
    )
    (commands,) = [text for text in blocks if "-legacy" in text]
    place = tmp_path / "secrets/clients"
    done = subprocess.run(
        ["sh", "-ec", commands], cwd=place, check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    made = place / "alice-old.p12"
    passphrase = (place / "alice.passphrase").read_bytes().strip()
    bundle = pkcs12.load_pkcs12(made.read_bytes(), passphrase)
    assert bundle.key
    assert bundle.cert
    assert len(bundle.additional_certs) == 1
    assert made.stat().st_mode & 0o077 == 0
    assert not (place / "alice.tmp").exists()
