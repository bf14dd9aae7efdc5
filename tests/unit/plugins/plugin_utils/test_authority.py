# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority with a clock of its own, judged by cryptography's verifier and by openssl verify."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.files import write_atomic
from ansible_collections.homelab.airlock.plugins.plugin_utils import (
    authority_attacks,
    certificate_requests,
    certificates,
)
from ansible_collections.homelab.airlock.plugins.plugin_utils import staged_files as under_test
from ansible_collections.homelab.airlock.plugins.plugin_utils.authority import (
    CLIENT,
    HOST,
    Authority,
)
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


def unusual(*, duplicate: bool = False, curve: bool = False) -> bytes:
    """Return a request as no builder makes one: with an extension twice, or on a curve without a name."""
    key = certificates.make_key()
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    made = x509.load_pem_x509_csr(request(SCOPE, key, constraints))
    asked = made.tbs_certrequest_bytes
    if duplicate:  # 2.5.29.19, the constraints, becomes 2.5.29.17, other names
        asked = asked.replace(bytes.fromhex("0603551d13"), bytes.fromhex("0603551d11"))
    if curve:  # the last arc of P-256
        asked = asked.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f"))
    signature = b"\0" + key.sign(asked, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    body = asked + algorithm + bytes([0x03, len(signature)]) + signature
    text = base64.encodebytes(b"\x30\x82" + len(body).to_bytes(2, "big") + body)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + text + b"-----END CERTIFICATE REQUEST-----\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    keep(tmp_path)
    return tmp_path


def test_it_is_made_once_and_kept(site: Path) -> None:
    before = {path: path.read_bytes() for path in (site / "pki").iterdir() if path.is_file()}
    assert keep(site)[0] == []
    assert before == {
        path: path.read_bytes() for path in (site / "pki").iterdir() if path.is_file()
    }
    for name in ("root.key", "issuing.key", "probe.pem", "issued.json"):
        assert (site / "pki" / name).stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (site / "pki/root.key").read_bytes()
    assert (site / "secrets/root.passphrase").stat().st_mode & 0o777 == 0o600


def test_a_prediction_writes_nothing(tmp_path: Path) -> None:
    reasons, _clients = keep(tmp_path, check=True, clients={"alice": {}})
    assert "made the authority of this house" in reasons
    assert list(tmp_path.iterdir()) == []


def test_the_passphrase_of_the_owner_is_the_one_that_counts(tmp_path: Path) -> None:
    keep(tmp_path, passphrase="correct horse")  # noqa: S106
    assert not (tmp_path / "secrets/root.passphrase").exists()
    with pytest.raises(AirlockError, match="under airlock_ca_passphrase"):
        keep(tmp_path, NOW + 400 * DAY, passphrase="wrong")  # noqa: S106


def test_the_issuing_authority_is_critically_constrained_and_lives_a_while(site: Path) -> None:
    issuing = x509.load_pem_x509_certificate((site / "pki/issuing.pem").read_bytes())
    constraints = issuing.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value == SCOPE.constraints()
    assert issuing.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


@pytest.mark.parametrize(
    ("scope", "excluded"),
    [
        (Scope.of(["ai.home.arpa"], []), {"0.0.0.0/0", "::/0"}),
        (Scope.of([], ["10.0.0.1"]), {"::/0"}),
        (SCOPE, set()),
    ],
)
def test_a_kind_of_name_that_the_house_has_none_of_is_not_free(
    scope: Scope, excluded: set[str]
) -> None:
    constraints = scope.constraints()
    assert {str(name.value) for name in constraints.excluded_subtrees or []} == excluded
    kinds = {type(name) for name in constraints.permitted_subtrees or []}
    assert {x509.DNSName, x509.RFC822Name} <= kinds


def test_other_names_are_taken_up_by_the_same_key(site: Path) -> None:
    key = (site / "pki/issuing.key").read_bytes()
    wider = Scope.of(["ai.home.arpa", "more.home.arpa"], SCOPE.addresses)
    assert keep(site, scope=wider)[0][0].startswith("the names and addresses of the house")
    assert (site / "pki/issuing.key").read_bytes() == key
    assert keep(site, scope=wider)[0] == []


def test_the_root_key_may_be_elsewhere_until_it_is_needed(site: Path) -> None:
    shutil.move(site / "pki/root.key", site / "away")
    assert keep(site, NOW + 100 * DAY)[0] == ["made a new revocation list"]
    with pytest.raises(AirlockError, match=r"bring pki/root\.key back"):
        keep(site, NOW + 400 * DAY, scope=Scope.of(["other.home.arpa"], []))
    shutil.move(site / "away", site / "pki/root.key")
    assert "renewed the issuing authority" in keep(site, NOW + 400 * DAY)[0]


def test_a_key_that_others_can_read_is_refused(site: Path) -> None:
    (site / "pki/issuing.key").chmod(0o640)
    with pytest.raises(AirlockError, match="others can read a key"):
        certify(site, request())


@pytest.mark.parametrize("scope", [Scope.of([], ["192.168.30.10"]), Scope.of(["ai.home.arpa"], [])])
def test_a_house_without_names_or_addresses_has_certificates_that_are_believed(
    site: Path, scope: Scope
) -> None:
    keep(site, scope=scope)
    certify(site, request(scope), scope=scope)
    assert openssl(site, site / "pki/hosts/inference.pem", "sslserver") == ""


def test_a_host_gets_what_is_its_own(site: Path) -> None:
    key = certificates.make_key()
    found = certify(site, request(key=key))
    assert certificates.same_key(found.public_key(), key.public_key())
    assert openssl(site, site / "pki/hosts/inference.pem", "sslserver") == ""
    assert "purpose" in openssl(site, site / "pki/hosts/inference.pem", "sslclient")
    assert due(site, key) == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (request(Scope.of(["ai.home.arpa", "bank.example"], SCOPE.addresses)), "not its own"),
        (request(Scope.of(["ai.home.arpa"], ["192.168.30.10"])), "not its own"),
        (request(SCOPE, None, x509.BasicConstraints(True, None)), "not its own"),
        (request(SCOPE, None, SCOPE.constraints()), "not its own"),
        (request(SCOPE, name="other"), "not its own"),
        (request(SCOPE, rsa.generate_private_key(65537, 2048)), "of another kind"),
        (request(SCOPE, ec.generate_private_key(ec.SECP384R1())), "of another kind"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", "is no"),
        (b"x" * 20000, "is no certificate request"),
        (request(SCOPE, ec.generate_private_key(ec.SECP256K1())), "of another kind"),
        (unusual(duplicate=True), "is no certificate request of a kind that is known"),
        (unusual(curve=True), "is no certificate request of a kind that is known"),
    ],
)
def test_a_request_for_anything_else_is_refused(site: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(AirlockError, match=sentence):
        certify(site, data)
    assert not (site / "pki/hosts").exists()
    assert b'"host"' not in (site / "pki/issued.json").read_bytes()


def test_a_request_that_somebody_edited_is_refused(site: Path) -> None:
    der = bytearray(x509.load_pem_x509_csr(request()).public_bytes(Encoding.DER))
    der[der.index(b"ai.home.arpa")] ^= 1
    edited = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(AirlockError, match="not signed by the key that it names"):
        certify(site, edited)


@pytest.mark.parametrize(("days", "before", "after"), [(7, 3, 4), (90, 44, 46)])
def test_a_host_is_due_after_half_of_its_life(
    site: Path, days: int, before: int, after: int
) -> None:
    key = certificates.make_key()
    certify(site, request(key=key), days=days)
    assert due(site, key, NOW + before * DAY) == []
    assert due(site, key, NOW + after * DAY) == [
        "the certificate of inference has lived half of its life"
    ]


def test_a_shorter_life_is_of_now_and_not_of_the_next_renewal(site: Path) -> None:
    key = certificates.make_key()
    certify(site, request(key=key), days=90)
    assert due(site, key, NOW + DAY, days=7) == [
        "the certificate of inference lives longer than the 7 days of now"
    ]
    assert keep(site, NOW + DAY, days=7)[0] == ["made a new revocation list"]
    for days in (7, 90):
        assert keep(site, NOW + DAY, days=days)[0] == []
    certify(site, request(key=key), NOW + DAY, days=7)
    # A clock that was set back a little has nothing to do with it.
    assert due(site, key, NOW + DAY - DAY / 160, days=7) == []
    for days in (7, 90):
        assert due(site, key, NOW + DAY, days=days) == []


def test_a_client_has_no_longer_life_than_is_declared_now(site: Path) -> None:
    keep(site, clients={"alice": {}}, client_days=90)
    reasons, clients = keep(site, NOW + DAY, clients={"alice": {}}, client_days=30)
    assert reasons == ["issued a certificate to the client alice"]
    assert clients[0]["until"] == f"{NOW + 31 * DAY:%Y-%m-%d}"
    for days in (30, 90):  # a longer life begins with the next renewal
        assert keep(site, NOW + DAY, clients={"alice": {}}, client_days=days)[0] == []


def test_a_host_is_due_when_something_is_other_than_it_was(site: Path) -> None:
    key = certificates.make_key()
    assert due(site, key) == ["inference has no certificate"]
    certify(site, request(key=key))
    assert due(site, certificates.make_key()) == [
        "the key on inference is not that of its certificate"
    ]
    with Authority.opened(site, NOW) as authority:
        authority.revoke(HOST, "inference", 90)
    assert due(site, key) == ["the certificate of inference is revoked"]


@pytest.mark.parametrize("cut", [True, False])
def test_a_host_does_not_keep_a_certificate_that_was_taken_back(
    site: Path, monkeypatch: pytest.MonkeyPatch, *, cut: bool
) -> None:
    key = certificates.make_key()
    certify(site, request(key=key))
    revoke(site, "inference")
    if cut:  # what was signed next is on the list of issued, and nowhere else
        fail_at(monkeypatch, 1)
        with pytest.raises(OSError, match="power cut"):
            certify(site, request())
        monkeypatch.undo()
    assert due(site, key) == ["the certificate of inference is revoked"]
    other = certificates.make_key()
    certify(site, request(key=other))
    assert due(site, other) == []


def test_a_client_gets_files_for_itself_alone(site: Path) -> None:
    reasons, clients = keep(site, clients={"alice": {}})
    assert reasons == ["issued a certificate to the client alice"]
    assert clients[0]["state"] == "good"
    folder = site / "secrets/clients"
    assert {path.name for path in folder.iterdir()} == {
        f"alice.{suffix}" for suffix in ("pem", "key", "p12", "passphrase")
    }
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert openssl(site, folder / "alice.pem", "sslclient") == ""
    assert "purpose" in openssl(site, folder / "alice.pem", "sslserver")
    passphrase = (folder / "alice.passphrase").read_bytes().strip()
    key, leaf, others = pkcs12.load_key_and_certificates(
        (folder / "alice.p12").read_bytes(), passphrase
    )
    assert key is not None and leaf is not None and len(others) == 1
    assert certificates.fingerprint(leaf) == clients[0]["sha256"]
    assert keep(site, clients={"alice": {}})[0] == []


@pytest.mark.parametrize("name", ["../keys/ann", "a/b", "", ".", "Alice", "a\n", "0a", "a" * 32])
def test_a_name_that_would_lead_elsewhere_is_none_of_a_client(site: Path, name: str) -> None:
    before = sorted(site.rglob("*"))
    with pytest.raises(AirlockError, match="airlock_clients: this cannot be the name of a client"):
        keep(site, clients={name: {}})
    assert sorted(site.rglob("*")) == before


def test_a_client_with_a_request_keeps_its_key(site: Path) -> None:
    nothing = Scope((), ())
    (site / "agent.csr").write_bytes(request(nothing, name="whatever"))
    keep(site, clients={"agent": {"csr": "agent.csr"}})
    assert [path.name for path in (site / "secrets/clients").iterdir()] == ["agent.pem"]
    found = x509.load_pem_x509_certificate((site / "secrets/clients/agent.pem").read_bytes())
    assert certificates.common_name(found.subject) == "agent"
    (site / "agent.csr").write_bytes(request(SCOPE))
    with pytest.raises(AirlockError, match="asks for more than to be a client"):
        keep(site, clients={"agent": {"csr": "agent.csr"}}, anew="agent")


def test_who_is_revoked_is_on_the_list_and_gets_nothing_until_asked(site: Path) -> None:
    keep(site, clients={"alice": {}})
    shown = site / "shown.pem"
    shown.write_bytes((site / "secrets/clients/alice.pem").read_bytes())
    with Authority.opened(site, NOW) as authority:
        assert len(authority.revoke(CLIENT, "alice", 90)) == 1
        certificate_requests.forget_client(authority, "alice")
    assert "certificate revoked" in openssl(site, shown, "sslclient")
    reasons, clients = keep(site, NOW + 200 * DAY, clients={"alice": {}})
    assert clients[0]["state"] == "revoked"
    assert not any("alice" in reason for reason in reasons)
    reasons, clients = keep(site, NOW + 200 * DAY, clients={"alice": {}}, anew="alice")
    assert clients[0]["state"] == "good"


def test_a_revocation_that_was_interrupted_can_be_repeated(site: Path) -> None:
    keep(site, clients={"alice": {}})
    reasons, said = revoke(site, "alice")
    assert (len(reasons), said) == (2, {"kinds": ["client"]})
    (site / "pki/issuing.crl").unlink()
    assert revoke(site, "alice") == (["made a new revocation list"], {"kinds": ["client"]})
    assert revoke(site, "alice") == ([], {"kinds": ["client"]})
    with pytest.raises(AirlockError, match="there is no certificate to take back"):
        revoke(site, "alice", NOW + 91 * DAY)  # it has ended, which is as good
    with pytest.raises(AirlockError, match="there is no certificate to take back"):
        revoke(site, "mallory")


def fail_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Have the power fail instead of the write ``count`` of this run, the first being 0."""
    written = 0

    def write(path: str, data: bytes, *, mode: int) -> None:
        nonlocal written
        if written == count:
            raise OSError("power cut")
        written += 1
        write_atomic(path, data, mode=mode)

    monkeypatch.setattr(under_test, "write_atomic", write)


@pytest.mark.parametrize("count", [1])
def test_a_power_cut_does_not_undo_a_revocation(
    site: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    keep(site, clients={"eve": {}})
    eve = x509.load_pem_x509_certificate((site / "secrets/clients/eve.pem").read_bytes())
    fail_at(monkeypatch, count)
    with pytest.raises(OSError, match="power cut"):
        revoke(site, "eve")
    monkeypatch.undo()
    keep(site, clients={"eve": {}})
    assert eve.serial_number in listed(site)


@pytest.mark.parametrize("count", range(13))
def test_a_power_cut_while_it_is_made_leaves_nothing_that_stays_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    fail_at(monkeypatch, count)
    with pytest.raises(OSError, match="power cut"):
        keep(tmp_path, clients={"alice": {}})
    monkeypatch.undo()
    keep(tmp_path, clients={"alice": {}})
    folder = tmp_path / "secrets/clients"
    assert openssl(tmp_path, folder / "alice.pem", "sslclient") == ""
    leaf = x509.load_pem_x509_certificate((folder / "alice.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "alice.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert certificates.same_key(leaf.public_key(), key.public_key())
    known = json.loads((tmp_path / "pki/issued.json").read_text())["issued"]
    assert f"{leaf.serial_number:x}" in {entry["serial"] for entry in known}
    assert "certificate revoked" in openssl(tmp_path, tmp_path / "pki/probe.pem", "sslclient")


def test_the_probe_of_the_list_is_made_anew_when_it_has_ended(site: Path) -> None:
    later = NOW + 800 * DAY
    keep(site, later)
    assert "certificate revoked" in openssl(site, site / "pki/probe.pem", "sslclient", later)


@pytest.mark.parametrize("visitor", ["valid", "revoked"])
def test_no_visitor_has_a_name_that_a_client_could_have(site: Path, visitor: str) -> None:
    assert certificates.common_name(visit(site)[visitor].subject) == f"airlock probe {visitor}"


def visit(site: Path, witness_of: str = "") -> dict[str, x509.Certificate]:
    with Authority.opened(site, NOW) as authority:
        shown = authority_attacks.visitors(authority, witness_of=witness_of)
    return {name: x509.load_pem_x509_certificate(pem.encode()) for name, pem in shown.items()}


def test_what_is_shown_on_a_clients_machine_is_worth_nothing_an_hour_later(site: Path) -> None:
    keep(site, clients={"alice": {}})
    found = visit(site, "alice")
    del found["revoked"]  # it was never good
    assert all(each.not_valid_after_utc <= NOW + DAY / 24 for each in found.values())
    with pytest.raises(x509.ExtensionNotFound):  # nobody believes that it is this house
        found["server"].extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_visitor_can_be_taken_back(site: Path) -> None:
    serial = visit(site)["valid"].serial_number
    assert revoke(site, "airlock probe valid")[1] == {"kinds": ["probe"]}
    assert serial in listed(site)


def test_a_witness_is_taken_back_with_its_client(site: Path) -> None:
    keep(site, clients={"alice": {}})
    witness = visit(site, "alice")["witness"]
    assert certificates.common_name(witness.subject) == "airlock probe of alice"
    assert witness.serial_number not in listed(site)
    assert revoke(site, "alice")[1] == {"kinds": ["client", "probe"]}
    assert witness.serial_number in listed(site)
    assert keep(site, clients={"alice": {}})[1][0]["state"] == "revoked"
    assert "witness" not in visit(site, "mallory")


def test_who_is_no_longer_declared_is_revoked(site: Path) -> None:
    keep(site, clients={"alice": {}, "bob": {}})
    reasons, _clients = keep(site, clients={"bob": {}})
    assert reasons[0].startswith("revoked client alice")
    assert {path.stem for path in (site / "secrets/clients").iterdir()} == {"bob"}


def leaf_of(site: Path, name: str) -> x509.Certificate:
    data = (site / f"secrets/clients/{name}.pem").read_bytes()
    return x509.load_pem_x509_certificate(data)


@pytest.mark.parametrize("ordered", [False, True], ids=["left", "revoked, then left"])
def test_who_is_named_again_gets_another_certificate_with_another_key(
    site: Path, *, ordered: bool
) -> None:
    keep(site, clients={"alice": {}})
    before = leaf_of(site, "alice")
    if ordered:
        revoke(site, "alice")
        assert keep(site, clients={"alice": {}})[1][0]["state"] == "revoked"
    assert keep(site, check=True)[0] == keep(site)[0]
    assert keep(site)[0] == []
    reasons, clients = keep(site, NOW + DAY, clients={"alice": {}})
    assert (reasons, clients[0]["state"]) == (["issued a certificate to the client alice"], "good")
    after = leaf_of(site, "alice")
    assert not certificates.same_key(before.public_key(), after.public_key())
    assert before.serial_number in listed(site)
    assert openssl(site, site / "secrets/clients/alice.pem", "sslclient", NOW + 2 * DAY) == ""
    assert keep(site, NOW + DAY, clients={"alice": {}})[0] == []
    revoke(site, "alice", NOW + DAY)  # an order counts as before
    assert keep(site, NOW + 2 * DAY, clients={"alice": {}})[1][0]["state"] == "revoked"


def test_who_is_named_again_after_a_power_cut_does_not_keep_what_was_taken_back(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(site, clients={"alice": {}})
    before = leaf_of(site, "alice")
    with monkeypatch.context() as power:
        power.setattr(Path, "unlink", cut)
        with pytest.raises(OSError, match="power cut"):
            keep(site)
    assert leaf_of(site, "alice") == before
    assert keep(site, clients={"alice": {}})[1][0]["state"] == "good"
    assert leaf_of(site, "alice").serial_number not in listed(site)


def cut(*_arguments: Any, **_options: Any) -> None:
    raise OSError("power cut")


def test_rotation_leaves_the_one_before_as_it_is(site: Path) -> None:
    keep(site, clients={"alice": {}})
    shown = site / "shown.pem"
    shown.write_bytes((site / "secrets/clients/alice.pem").read_bytes())
    keep(site, clients={"alice": {}}, anew="alice")
    assert (site / "secrets/clients/alice.pem").read_bytes() != shown.read_bytes()
    assert openssl(site, shown, "sslclient") == ""
    with pytest.raises(AirlockError, match="there is no such client"):
        keep(site, clients={"alice": {}}, anew="mallory")


def test_lists_are_renewed_long_before_they_end(site: Path) -> None:
    assert keep(site, NOW + 44 * DAY)[0] == []
    assert keep(site, NOW + 46 * DAY)[0] == ["made a new revocation list"]
    assert keep(site, NOW + 46 * DAY)[0] == []


def test_a_list_of_issued_that_cannot_be_read_stops_everything(site: Path) -> None:
    (site / "pki/issued.json").write_text('{"crl_number": 1, "issued": [{}]}')
    with pytest.raises(AirlockError, match="list of issued certificates cannot be read"):
        keep(site)


def test_no_secret_is_in_the_list_of_issued(site: Path) -> None:
    document = json.loads((site / "pki/issued.json").read_text())
    assert {entry["kind"] for entry in document["issued"]} == {"probe"}
    assert document["issued"][0]["revoked"] == "2026-11-21T12:00:00Z"


def test_every_attack_is_refused_beside_its_positive_control(site: Path) -> None:
    with Authority.opened(site, NOW) as authority:
        tried = authority_attacks.attempt(authority, "inference", SCOPE)
    records = [*tried["signing"], *tried["scope"]]
    assert len(records) == 4
    assert all(record["holds"] and record["positive_control"] for record in records)


def test_an_authority_without_constraints_is_found_out(site: Path, monkeypatch: Any) -> None:
    free = Scope.of(["ai.home.arpa", "example.org"], [*SCOPE.addresses, "198.18.0.1"])
    keep(site, scope=free)
    with Authority.opened(site, NOW) as authority:
        tried = authority_attacks.attempt(authority, "inference", SCOPE)
    assert [record["holds"] for record in tried["scope"]] == [False, False]


@pytest.mark.parametrize(
    ("visitor", "objection"),
    [
        ("valid", ""),
        ("expired", "expired"),
        ("revoked", "certificate revoked"),
        ("server", "purpose"),
        ("stranger", "issuer"),
    ],
)
def test_visitors_are_what_they_are_called(site: Path, visitor: str, objection: str) -> None:
    with Authority.opened(site, NOW) as authority:
        shown = authority_attacks.visitors(authority)[visitor]
    (site / "visitor.pem").write_text(shown)
    found = openssl(site, site / "visitor.pem", "sslclient")
    assert objection in found if objection else found == ""
    key = serialization.load_pem_private_key(shown[shown.index("-----BEGIN PRIV") :].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
