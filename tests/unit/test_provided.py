# SPDX-License-Identifier: GPL-3.0-or-later
"""Of the owner's certificate its certificates go to the host, and its key as a secret."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.homelab.airlock.plugins.plugin_utils import certificates
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import pem
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]


def test_a_key_beside_the_certificate_is_not_placed_with_it(play: Play, tmp_path: Path) -> None:
    now, key = datetime.now(timezone.utc), certificates.make_key()
    root = certificates.make_root(now)
    scope = Scope.of(["ai.home.arpa"], [])
    issuing = certificates.make_issuing(root, certificates.make_key(), scope, now)
    leaf = certificates.make_leaf(
        issuing, key.public_key(), "x", now + timedelta(days=30), now, server=scope
    )
    chain = [one.public_bytes(Encoding.PEM).decode() for one in (leaf, issuing.certificate)]
    combined = tmp_path / "site/certs/haproxy.pem"
    combined.parent.mkdir(parents=True)
    combined.write_text(chain[0] + pem(key).decode() + chain[1])
    survey = yaml.safe_load((ROOT / "roles/pki/tasks/survey.yml").read_text())
    (task,) = [task for task in survey if "homelab.airlock.authority" in task]
    variables = yaml.safe_load((ROOT / "roles/pki/vars/main.yml").read_text())
    written = {f"{{{{ __pki_provided_files[{n}].content }}}}": n for n in (0, 1)}
    done = play(
        "--diff",
        vars={
            **yaml.safe_load((ROOT / "roles/pki/defaults/main.yml").read_text()),
            **variables,
            "airlock_site_dir": str(tmp_path / "site"),
            "pki_server_names": ["ai.home.arpa"],
            "pki_server_certificate": "provided",
            "pki_provided_certificate": "certs/haproxy.pem",  # below the site directory
            "pki_provided_key": "certs/haproxy.pem",
        },
        tasks=[
            task,
            *(
                {
                    "ansible.builtin.copy": {"content": text, "dest": f"{tmp_path}/{n}"},
                    "diff": False,
                }
                for text, n in written.items()
            ),
            {
                "ansible.builtin.assert": {
                    "that": [
                        f"__pki_server_file == '{combined}'",
                        "__pki_provided_authority_file == ''",
                    ]
                }
            },
        ],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "0").read_text() == "".join(chain)
    assert pem(key).decode() in (tmp_path / "1").read_text()
    public, secret = variables["__pki_provided_files"]
    assert not public.get("secret")
    assert secret["secret"]
    assert "PRIVATE" not in done.stdout
