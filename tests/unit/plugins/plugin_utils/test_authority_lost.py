# SPDX-License-Identifier: GPL-3.0-or-later
"""What is revoked stays so with a site directory that was restored, copied, damaged, or kept by a wrong clock."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.homelab.airlock.plugins.action import authority as action
from ansible_collections.homelab.airlock.plugins.action.authority import ActionModule
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import authority_attacks, certificates
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import Authority
from ansible_collections.homelab.airlock.plugins.plugin_utils.certificates import Scope
from ansible_collections.homelab.airlock.tests.unit.plugins.plugin_utils.house import (
    DAY,
    NOW,
    SCOPE,
    certify,
    due,
    keep,
    listed,
    openssl,
    request,
    revoke,
)

BOTH: dict[str, Any] = {"alice": {}, "bob": {}}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site"
    keep(path, clients=BOTH)
    return path


@pytest.fixture
def stolen(site: Path) -> Path:
    """Return what a thief has of bob's."""
    return Path(shutil.copy(site / "secrets/clients/bob.pem", site / "stolen.pem"))


def number(site: Path) -> int:
    crl = x509.load_pem_x509_crl((site / "pki/issuing.crl").read_bytes())
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def on_host(site: Path) -> bytes:
    """Return clients.crl as the host gets it."""
    lists = [(site / f"pki/{name}.crl").read_bytes() for name in ("issuing", "root")]
    return b"\n".join(lists)


def client(site: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((site / f"secrets/clients/{name}.pem").read_bytes())


def test_without_the_list_of_what_was_issued_nothing_is_done(site: Path, stolen: Path) -> None:
    revoke(site, "bob")
    (site / "pki/issued.json").unlink()
    with pytest.raises(AirlockError, match=r"issued\.json: the list of what .* is gone"):
        keep(site, clients=BOTH)
    assert "certificate revoked" in openssl(site, stolen, "sslclient")


@pytest.mark.parametrize("knows", ["bob", "nobody"])
def test_a_restored_directory_learns_from_the_host_who_is_revoked(
    tmp_path: Path, site: Path, knows: str
) -> None:
    if knows == "nobody":
        shutil.copytree(site, tmp_path / "restored")
        keep(site, clients=BOTH, anew="bob")  # a certificate of which the backup knows nothing
    stolen = Path(shutil.copy(site / "secrets/clients/bob.pem", tmp_path / "stolen.pem"))
    if knows == "bob":
        shutil.copytree(site, tmp_path / "restored")
    revoke(site, "bob")
    placed, before = {"inference": on_host(site)}, number(site)
    site, warnings = tmp_path / "restored", list[str]()
    predicted, _clients = keep(site, clients=BOTH, placed=placed, check=True)
    reasons, clients = keep(site, clients=BOTH, placed=placed, warnings=warnings)
    assert predicted == reasons
    assert "certificate revoked" in openssl(site, stolen, "sslclient")
    assert clients[1]["state"] == "revoked"  # bob had one that the backup knows in either case
    assert number(site) > before
    serial = x509.load_pem_x509_certificate(stolen.read_bytes()).serial_number
    owner = "client bob" if knows == "bob" else f"unknown {serial:x}"
    assert f"revoked {owner}, serial {serial:x}, as inference says" in reasons
    assert len(warnings) == 1
    assert "older than inference" in warnings[0]
    again: list[str] = []
    assert keep(site, clients=BOTH, placed=placed, warnings=again)[0] == again == []
    assert openssl(site, site / "secrets/clients/alice.pem", "sslclient") == ""


def test_a_directory_that_went_its_own_way_learns_too(tmp_path: Path, site: Path) -> None:
    stolen = Path(shutil.copy(site / "secrets/clients/bob.pem", tmp_path / "stolen.pem"))
    shutil.copytree(site, tmp_path / "restored")
    revoke(site, "bob")
    placed, before = {"inference": on_host(site)}, number(site)
    site = tmp_path / "restored"
    for visit in range(1, 5):
        keep(site, NOW + visit * 46 * DAY, clients=BOTH)
    assert number(site) > before
    keep(site, NOW, clients=BOTH, placed=placed)
    assert "certificate revoked" in openssl(site, stolen, "sslclient")


def test_the_list_of_what_was_issued_alone_from_a_backup_is_found_out(
    site: Path, stolen: Path
) -> None:
    old = (site / "pki/issued.json").read_bytes()
    revoke(site, "bob")
    (site / "pki/issued.json").write_bytes(old)
    warnings: list[str] = []
    reasons, clients = keep(site, clients=BOTH, warnings=warnings)
    assert clients[1]["state"] == "revoked"
    assert "pki/issuing.crl says" in reasons[0]
    assert "older than" in warnings[0]
    assert "certificate revoked" in openssl(site, stolen, "sslclient")


def test_a_revocation_learns_from_the_host_as_well(tmp_path: Path, site: Path) -> None:
    stolen = Path(shutil.copy(site / "secrets/clients/bob.pem", tmp_path / "stolen.pem"))
    shutil.copytree(site, tmp_path / "restored")
    revoke(site, "bob")
    text = base64.b64encode(on_host(site)).decode()
    site = tmp_path / "restored"
    with Authority.opened(site, NOW) as authority:
        wanted = {"revoke": "alice", "days": 90, "placed": {"inference": text, "new": ""}}
        ActionModule._revoked(authority, SCOPE, wanted)
    assert authority.warnings
    assert "certificate revoked" in openssl(site, stolen, "sslclient")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _good, _other: b"nonsense", "cannot be read"),
        (lambda good, _other: good * 1000, "cannot be read"),
        (lambda good, _other: good[:40] + good[60:], "cannot be read"),
        (lambda _good, other: other, "not of this authority"),
        (lambda good, _other: good[good.rindex(b"-----BEGIN") :], "not of this authority"),
    ],
    ids=["nonsense", "too large", "cut out", "another authority's", "the root's alone"],
)
def test_a_list_that_is_not_ours_says_nothing_and_stops_nothing(
    tmp_path: Path, site: Path, damage: Any, said: str
) -> None:
    keep(tmp_path / "other", clients=BOTH)
    revoke(tmp_path / "other", "bob")
    placed = {"inference": damage(on_host(site), on_host(tmp_path / "other"))}
    before, warnings = listed(site), list[str]()
    assert keep(site, clients=BOTH, placed=placed, warnings=warnings)[0] == []
    assert (listed(site), len(warnings)) == (before, 1)
    assert warnings[0].startswith("inference: the revocation list ")
    assert said in warnings[0]


def test_a_list_that_somebody_edited_says_nothing(site: Path) -> None:
    crl = x509.load_pem_x509_crl((site / "pki/issuing.crl").read_bytes())
    der = bytearray(crl.public_bytes(Encoding.DER))
    (serial,) = listed(site)
    at = der.index(serial.to_bytes((serial.bit_length() + 8) // 8, "big")) + 5
    der[at] ^= 1
    edited = x509.load_der_x509_crl(bytes(der)).public_bytes(Encoding.PEM)
    warnings: list[str] = []
    assert keep(site, clients=BOTH, placed={"inference": edited}, warnings=warnings)[0] == []
    assert "not of this authority" in warnings[0]


def test_what_a_host_sends_that_is_no_file_is_no_list() -> None:
    sent = {"a": "", "b": "bm8=", "c": "n\u00f6", "d": 7}
    assert action._lists(sent) == {"b": b"no", "c": b"?", "d": b"?"}  # type: ignore[arg-type]


def test_without_its_certificate_the_issuing_authority_is_made_by_the_root_that_is_there(
    site: Path, stolen: Path
) -> None:
    root = (site / "pki/ca.pem").read_bytes()
    revoke(site, "bob")
    (site / "pki/issuing.pem").unlink()
    assert "made the issuing authority anew" in keep(site, clients=BOTH)[0]
    assert (site / "pki/ca.pem").read_bytes() == root
    assert openssl(site, site / "secrets/clients/alice.pem", "sslclient") == ""
    assert "certificate revoked" in openssl(site, stolen, "sslclient")
    (site / "pki/ca.pem").unlink()
    with pytest.raises(AirlockError, match="the certificate of the root is gone"):
        keep(site, clients=BOTH)


def test_after_a_new_root_everybody_gets_a_certificate_but_who_was_revoked(site: Path) -> None:
    key = certificates.make_key()
    certify(site, request(key=key))
    revoke(site, "bob")
    before = {path.name: path.read_bytes() for path in (site / "pki").iterdir() if path.is_file()}
    for name in ("ca.pem", "root.key", "issuing.pem", "issuing.key"):  # what the guide says
        (site / "pki" / name).unlink()
    reasons, clients = keep(site, clients=BOTH)
    assert "issued a certificate to the client alice" in reasons
    assert [entry["state"] for entry in clients] == ["good", "revoked"]
    assert (site / "pki/ca.pem").read_bytes() != before["ca.pem"]
    assert openssl(site, site / "secrets/clients/alice.pem", "sslclient") == ""
    assert "certificate revoked" in openssl(site, site / "pki/probe.pem", "sslclient")
    assert "the issuing authority is another one" in due(site, key)
    assert keep(site, clients=BOTH)[0] == []


@pytest.mark.parametrize("away", ["pki/root.key", "secrets/root.passphrase"])
def test_the_root_may_be_away_when_only_age_asks_for_it(site: Path, away: str) -> None:
    key = certificates.make_key()
    certify(site, request(key=key))
    (site / away).rename(site / "away")
    warnings: list[str] = []
    assert "made a new revocation list" in keep(site, NOW + 400 * DAY, warnings=warnings)[0]
    assert len(warnings) == 1
    assert f"bring {away} back" in warnings[0]
    with pytest.raises(AirlockError, match=f"bring {away} back"):
        keep(site, NOW + 650 * DAY)  # less is left than what it signs lives
    (site / "away").rename(site / away)
    assert "renewed the issuing authority" in keep(site, NOW + 650 * DAY)[0]


def test_a_passphrase_that_is_away_is_called_by_its_name(site: Path) -> None:
    (site / "secrets/root.passphrase").unlink()
    with pytest.raises(AirlockError, match=r"secrets/root\.passphrase is not there"):
        keep(site, scope=Scope.of(["other.home.arpa"], []))
    assert not (site / "secrets/root.passphrase").exists()


def test_an_empty_passphrase_encrypts_no_root(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/root.passphrase").write_text(" \n")
    with pytest.raises(
        AirlockError, match=r"root\.passphrase: the passphrase of the root is empty"
    ):
        keep(tmp_path)
    assert not (tmp_path / "pki/root.key").exists()
    keep(tmp_path, passphrase="correct horse")  # noqa: S106
    assert b"ENCRYPTED" in (tmp_path / "pki/root.key").read_bytes()


def test_a_root_in_its_last_year_is_not_asked_every_day_and_then_refused(site: Path) -> None:
    for years in range(1, 10):
        keep(site, NOW + years * 360 * DAY)
    late = NOW + 3290 * DAY
    keep(site, late)
    for day in (late, late + DAY):
        warnings: list[str] = []
        assert keep(site, day, warnings=warnings)[0] == []
        assert "make a new root" in warnings[0]
    with pytest.raises(AirlockError, match=r"the root ends before .* make a new root"):
        keep(site, NOW + 3660 * DAY)


def test_a_clock_that_was_wrong_once_is_made_up_for(tmp_path: Path) -> None:
    site, key = tmp_path, certificates.make_key()
    keep(site, clients=BOTH)
    wrong = NOW + 60 * DAY
    keep(site, wrong, clients=BOTH)
    certify(site, request(key=key), wrong)
    assert due(site, key) == ["the certificate of inference is from the future"]
    reasons, _clients = keep(site, clients=BOTH)
    assert "made a new revocation list" in reasons
    certify(site, request(key=key))
    for name in BOTH:
        assert openssl(site, site / f"secrets/clients/{name}.pem", "sslclient") == ""
    assert openssl(site, site / "pki/hosts/inference.pem", "sslserver") == ""


def test_a_wrong_clock_lets_nobody_in_again(site: Path, stolen: Path) -> None:
    keep(site, clients=BOTH, anew="bob")
    revoke(site, "bob")
    keep(site, NOW + 200 * DAY, clients=BOTH)
    keep(site, clients=BOTH)
    assert "certificate revoked" in openssl(site, stolen, "sslclient")


@pytest.mark.parametrize("days", [-1, -10000])
def test_a_clock_before_the_root_is_refused(site: Path, days: int) -> None:
    with pytest.raises(AirlockError, match="correct the clock of this controller"):
        keep(site, NOW + days * DAY)


def test_an_issuing_authority_from_the_future_is_made_anew(site: Path) -> None:
    keep(site, NOW + 800 * DAY)
    assert keep(site, NOW)[0][0].startswith("the issuing authority is from the future")
    probe = x509.load_pem_x509_certificate((site / "pki/probe.pem").read_bytes())
    assert probe.not_valid_before_utc < NOW
    certify(site, request())
    assert openssl(site, site / "pki/hosts/inference.pem", "sslserver") == ""


def test_a_key_that_was_revoked_is_not_certified_again(site: Path) -> None:
    agent: dict[str, Any] = {"agent": {"csr": "agent.csr"}}
    (site / "agent.csr").write_bytes(request(Scope((), ()), name="agent"))
    keep(site, clients=agent)
    revoke(site, "agent")
    assert keep(site, clients=agent)[1][0]["state"] == "revoked"
    with pytest.raises(AirlockError, match="make a new key and a new request"):
        keep(site, NOW + 200 * DAY, clients=agent, anew="agent")
    issued = []
    for name in ("other", "agent"):  # under another name, and named again
        warnings: list[str] = []
        same = {name: {"csr": "agent.csr"}}
        reasons, clients = keep(site, NOW + 80 * DAY, clients={**BOTH, **same}, warnings=warnings)
        assert {one["id"]: one["state"] for one in clients}[name] == "revoked"
        assert f"the key in the request of {name} was revoked" in warnings[0]
        issued += reasons
    assert "issued a certificate to the client bob" in issued  # nobody else has to wait
    (site / "agent.csr").write_bytes(request(Scope((), ()), name="agent"))
    assert keep(site, clients=agent, anew="agent")[1][0]["state"] == "good"


def test_a_key_that_is_not_the_certificates_is_made_up_for(site: Path) -> None:
    path = site / "secrets/clients/alice.key"
    path.write_bytes(
        certificates.make_key().private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    assert keep(site, clients=BOTH)[0] == ["issued a certificate to the client alice"]
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert certificates.same_key(client(site, "alice").public_key(), key.public_key())
    path.unlink()  # it went to its owner
    assert keep(site, clients=BOTH)[0] == []


@pytest.mark.parametrize(
    "scope", [Scope.of(["other.home.arpa"], []), Scope.of([], ["192.168.30.11"])]
)
def test_a_host_outside_the_house_gets_nothing(site: Path, scope: Scope) -> None:
    with pytest.raises(AirlockError, match="no client would believe it"):
        certify(site, request(scope), scope=scope)
    below = Scope.of(["gpu.ai.home.arpa"], ["192.168.30.10"])
    certify(site, request(below), scope=below)
    assert openssl(site, site / "pki/hosts/inference.pem", "sslserver") == ""


def test_a_client_may_have_the_name_of_a_visitor(tmp_path: Path) -> None:
    keep(tmp_path, clients={"valid": {}})
    with Authority.opened(tmp_path, NOW) as authority:
        shown = authority_attacks.visitors(authority, witness_of="valid")
    found = {who: x509.load_pem_x509_certificate(pem.encode()) for who, pem in shown.items()}
    revoke(tmp_path, "valid")
    assert found["witness"].serial_number in listed(tmp_path)
    assert found["valid"].serial_number not in listed(tmp_path)


def test_what_was_revoked_is_known_for_as_long_as_the_authority(site: Path) -> None:
    keep(site, clients=BOTH, anew="bob")
    revoke(site, "bob")
    keep(site, NOW + 1000 * DAY)
    known = json.loads((site / "pki/issued.json").read_text())["issued"]
    assert len([entry for entry in known if entry["name"] == "bob" and entry["revoked"]]) == 2
