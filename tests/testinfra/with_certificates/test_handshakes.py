# SPDX-License-Identifier: GPL-3.0-or-later
"""What `verify` tries at the front door, at a level that asks for client certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import House

REFUSED = {
    "no TLS",
    "TLS 1.0",
    "TLS 1.1",
    "TLS 1.2",
    "no client certificate",
    "a client certificate of another authority",
    "an expired client certificate",
    "a revoked client certificate",
    "a server's certificate in the place of a client's",
}


def test_every_handshake_but_the_right_one_is_refused(house: House) -> None:
    records = house.knock()
    assert [record for record in records if not record["holds"]] == []
    shaken = {record["probe"].partition(":")[0]: record["observed"] for record in records}
    assert {probe for probe in shaken if shaken[probe].startswith("refused after ")} >= REFUSED
    assert shaken["a client's certificate"].startswith("answered after ")
