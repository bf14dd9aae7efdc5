# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner brings a certificate that phones believe: it is served under its name, renewed, and given back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from testinfra.host import Host

from ..conftest import host_of
from .conftest import FOLDER, needles

if TYPE_CHECKING:
    from ..conftest import Api
    from .conftest import House

EDGE = "/etc/airlock/pki/edge.pem"
CONFIG = "[req]\ndistinguished_name = dn\n[dn]\n"
AUTHORITY = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
NAMES = "where the names of the certificate lead"
UNTRUSTED = 60  # curl: the certificate leads to nobody whom it trusts


class Company:
    """Somebody else's authority, with keys of RSA as many have them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        (folder / "openssl.cnf").write_text(CONFIG)
        self._certify("root", "Company Root", *AUTHORITY)
        self._certify("issuing", "Company Issuing", *AUTHORITY, by="root")
        self.issue()

    def issue(self) -> None:
        """Make another certificate and key for the server, over those of before."""
        usage = ("basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth")
        self._certify("server", self.name, *usage, f"subjectAltName=DNS:{self.name}", by="issuing")
        chain = [self.read(f"{name}.pem") for name in ("server", "issuing")]
        (self.folder / "fullchain.pem").write_text("".join(chain))

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def _certify(self, name: str, subject: str, *extensions: str, by: str = "") -> None:
        names = ["subjectKeyIdentifier=hash", *(["authorityKeyIdentifier=keyid"] if by else [])]
        options = [f"-addext={text}" for text in (*names, *extensions)]
        options += [f"-CA={by}.pem", f"-CAkey={by}.key"] if by else []
        command = ["openssl", "req", "-config=openssl.cnf", "-x509", "-newkey=rsa:2048", "-nodes"]
        command += [f"-keyout={name}.key", f"-out={name}.pem", f"-subj=/CN={subject}", "-days=30"]
        subprocess.run([*command, *options], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def company(house: House, intent: dict[str, Any], tmp_path: Path) -> Iterator[Company]:
    """Have the house serve its certificate; in the end it serves its own again."""
    made = Company(tmp_path, intent["airlock_server_names"][0])
    overlay = house.site / "group_vars/all/with_certificates_provided.yml"
    wanted = {"certificate": "fullchain.pem", "key": "server.key", "authority": "root.pem"}
    files = {f"pki_provided_{what}": str(tmp_path / name) for what, name in wanted.items()}
    overlay.write_text(json.dumps({"pki_server_certificate": "provided", **files}))
    try:
        house.play("site", "--tags=pki,gateway")
        yield made
    finally:
        overlay.unlink()
        house.play("site", "--tags=pki,gateway")


@pytest.fixture
def leads() -> Iterator[Callable[[str, str], str]]:
    """Give what has a name lead to an address; the lab has no name server."""
    root = host_of("client", sudo=True)
    before = root.file("/etc/hosts").content_string
    yield lambda name, address: root.check_output("echo '%s %s' >> /etc/hosts", address, name)
    root.check_output("printf %%s %s > /etc/hosts", before)


def door(house: House, company: Company, client: Host) -> Api:
    """Return the front door as a client has it that trusts this company alone."""
    trusted = f"{FOLDER}/company.pem"
    client.check_output("printf %%s %s > %s", company.read("root.pem"), trusted)
    usual = house.door("everything")
    return replace(usual, address=company.name, options=(*usual.options, "--cacert", trusted))


def failed(house: House) -> list[str]:
    """Return what of the attempts of verify does not hold."""
    records = house.knock()
    assert [record for record in records if record["probe"].startswith(NAMES)]
    return [f"{r['probe']}: {r['observed']}" for r in records if not r["holds"]]


def test_a_certificate_of_the_owners_is_served_and_renewed(
    house: House,
    company: Company,
    inference: Host,
    client: Host,
    leads: Callable[[str, str], str],
) -> None:
    (strayed,) = failed(house)
    assert strayed.startswith(NAMES)
    house.play("revoke", key="guest")
    leads(company.name, house.address)
    assert failed(house) == []

    theirs = door(house, company, client)
    own = house.door("everything")
    assert theirs.ask("/v1/models").status == 200
    assert own.ask("/v1/models").rc == UNTRUSTED

    for renewed in (False, True):
        if renewed:
            company.issue()
            house.play("renew")
        house.handled.update(needles(company.read("server.key")))
        assert inference.file(EDGE).content_string == company.read("fullchain.pem")
        assert inference.file(f"{EDGE}.key").mode == 0o400
        shown = "openssl s_client -connect %s:8443 -servername %s </dev/null | openssl x509"
        served = client.run(shown, house.address, company.name).stdout
        assert served.strip() == company.read("server.pem").strip()
    assert theirs.ask("/v1/models").status == 200
