# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of site are true at every level of exposure, and with a certificate of the owner's."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Play

ROOT = Path(__file__).resolve().parents[2]
VARS = [
    f"roles/gateway/{name}.yml"
    for name in ("defaults/main", "vars/main/main", "vars/main/probes", "vars/main/recap")
]
NOW = datetime.now(timezone.utc)
KEYS = {"ann": {"services": ["chat"]}, "bob": {"services": ["embed"]}}


def moment(days: float) -> str:
    return f"{NOW + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with keys, and certificates for alice (key here) and agent (key elsewhere)."""
    for name in ("secrets/keys", "secrets/clients", "pki"):
        (tmp_path / name).mkdir(parents=True)
    for name in KEYS:
        record = {"id": name, "sha256": "1" * 64, "not_after": moment(20)}
        (tmp_path / f"secrets/keys/{name}.json").write_text(json.dumps(record))
        (tmp_path / f"secrets/keys/{name}.key").write_text("aik")
    for name in ("agent.pem", "alice.pem", "alice.key"):
        (tmp_path / "secrets/clients" / name).write_text("x")
    (tmp_path / "pki/ca.pem").write_text("x")
    return tmp_path


def recap(play: Play, site: Path, **variables: Any) -> str:
    """Return what the recap says."""
    facts = {
        "airlock_site_dir": str(site),
        "airlock_api_keys": KEYS,
        "airlock_clients": {"agent": {"csr": "agent.csr"}, "alice": None},
        "airlock_authentication": "tls",
        "airlock_exposure": "internal",
        "airlock_server_names": ["ai.home.arpa"],
        "airlock_server_addresses": [],
        "airlock_listen_port": 8443,
        **variables,
    }
    tasks = yaml.safe_load((ROOT / "roles/gateway/tasks/recap.yml").read_text())
    done = play(
        *(f"--extra-vars={json.dumps({name: value})}" for name, value in facts.items()),
        vars_files=[str(ROOT / path) for path in VARS],
        tasks=tasks,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.split(" => ")[1].split("\n\n")[0]
    return "\n".join(json.loads(said)["msg"])


HIGH = {"airlock_authentication": "mtls", "airlock_exposure": "high"}


def test_a_key_that_was_handed_over_is_with_its_holder(play: Play, site: Path) -> None:
    for name in KEYS:
        (site / f"secrets/keys/{name}.key").unlink()
    assert f"The key:  with its holder, good until {moment(20)}." in recap(play, site)


def test_by_default_it_says_how_to_trust_the_authority(play: Play, site: Path) -> None:
    said = recap(play, site)
    assert "Ask it:   https://ai.home.arpa:8443/v1 serves chat to ann." in said
    assert f"good until {moment(20)}." in said
    assert f"Trust:    {site}/pki/ca.pem, FILE below" in said
    assert "Android" in said
    assert f"curl --cacert {site}/pki/ca.pem --header" in said
    assert "Show:" not in said


def test_this_machine_alone_trusts_nobody(play: Play, site: Path) -> None:
    said = recap(play, site, airlock_authentication="key", airlock_exposure="local")
    assert "http://127.0.0.1:8443/v1, on localhost itself and nowhere else, serves" in said
    for word in ("Trust", "copy", "Android", "cacert", "--cert"):
        assert word not in said


@pytest.mark.parametrize("authority", ["", "pki/ca.pem"], ids=["public", "company"])
def test_a_certificate_of_the_owners_is_trusted_by_whom_it_says(
    play: Play, site: Path, authority: str
) -> None:
    said = recap(play, site, pki_server_certificate="provided", pki_provided_authority=authority)
    assert ("there is nothing to do" in said) == (not authority)
    for word in ("copy FILE", "--cacert", "Android"):
        assert (word in said) == bool(authority)
    assert (f"Trust:    {site}/{authority}, FILE below" in said) == bool(authority)


def test_at_high_it_names_files_that_are_there(play: Play, site: Path) -> None:
    said = recap(play, site, **HIGH)
    clients = f"{site}/secrets/clients"
    assert f"Show:     alice shows {clients}/alice.pem with alice.key; a device" in said
    assert f"Show:     agent shows {clients}/agent.pem with a key of its own" in said
    assert f"--cert {clients}/alice.pem --key {clients}/alice.key" in said
    assert "agent.key" not in said
    assert "Revoked:" not in said


def test_the_example_is_for_whom_the_key_is_bound_to(play: Play, site: Path) -> None:
    keys = {"ann": {"services": ["chat"], "certificate": "agent"}}
    said = recap(play, site, **HIGH, airlock_api_keys=keys)
    assert f"--cert {site}/secrets/clients/agent.pem --key KEY-OF-agent" in said


def test_who_was_revoked_is_named(play: Play, site: Path) -> None:
    kept = {"clients": [{"id": "alice", "state": "revoked"}, {"id": "agent", "state": "good"}]}
    for name in ("alice.pem", "alice.key"):
        (site / "secrets/clients" / name).unlink()
    said = recap(play, site, **HIGH, __pki_kept=kept)
    assert "Revoked:  alice has no certificate; rotate.yml -e certificate=alice makes" in said
    assert "alice shows" not in said


@pytest.mark.parametrize(
    ("days", "there", "named"),
    [(9, True, True), (9, False, False), (-1, True, False)],
    ids=["to be handed over", "handed over", "over"],
)
def test_a_key_that_was_renewed_is_to_be_handed_over(
    play: Play, site: Path, days: float, *, there: bool, named: bool
) -> None:
    path = site / "secrets/keys/bob.json"
    retiring = {"sha256": "2" * 64, "until": moment(days)}
    path.write_text(json.dumps({**json.loads(path.read_text()), "retiring": retiring}))
    if not there:
        (site / "secrets/keys/bob.key").unlink()
    line = (
        f"New key:  hand over {site}/secrets/keys/bob.key; the one before it is good until "
        f"{moment(days)}."
    )
    said = recap(play, site)
    assert (line in said) == named
    assert ("New key:" in said) == named
