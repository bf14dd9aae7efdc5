# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates are replaced, and taken back, while clients ask without pause."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from testinfra.host import Host

from .conftest import ALICE, BOB

if TYPE_CHECKING:
    from .conftest import Asked, House

KEYS = "/etc/airlock/gateway/keys.json"
SERVES = "/etc/airlock/edge/serves.sha256"
WAYS = {"newcomer", "regular", "stream"}
LONG = 1500  # tokens: a stream that lasts over a play
AFTERWARDS = 4  # seconds in which every way of asking meets what is new, on a busy machine as well


def replaced(host: Host, path: str) -> float:
    """Return when the file got its content, by the clock that hosts and client share as containers of one kernel."""
    return float(host.check_output("stat --format=%%.Y %s", path))


def of(asked: list[Asked], way: str) -> list[Asked]:
    return [request for request in asked if request.way == way]


def is_unbroken(asked: list[Asked], moments: list[float]) -> None:
    """Refuse a request that was not answered in full, and a load that says nothing about ``moments``."""
    assert [request for request in asked if request.outcome != "200"] == []
    for moment in moments:
        assert {request.way for request in asked if request.ended < moment} >= WAYS - {"stream"}
        assert {request.way for request in asked if request.began > moment} >= WAYS - {"stream"}
        assert [r for r in of(asked, "stream") if r.began < moment < r.ended]


def test_another_key_while_the_one_before_is_in_use(
    house: House, inference: Host, report: Callable[[str], None]
) -> None:
    before = house.key("steady")
    with house.load("steady") as asked:
        house.play("rotate", key="steady")
        assert house.key("steady") != before
        time.sleep(AFTERWARDS)
    is_unbroken(asked, [replaced(inference, KEYS)])
    report(f"another key: {len(asked)} requests with the one before it, all answered")
    house.hand_over()
    assert house.door("steady").ask("/v1/models").status == 200


def test_other_certificates_of_server_and_client(
    house: House, inference: Host, report: Callable[[str], None]
) -> None:
    with house.load("alices") as asked:
        house.play("rotate", certificate="inference")
        moment = replaced(inference, SERVES)
        house.play("rotate", certificate=ALICE)
        time.sleep(AFTERWARDS)
    is_unbroken(asked, [moment])
    served = [request.served for request in of(asked, "newcomer")]
    assert len(set(served)) == 2, "the load met the certificate of before and the one after it"
    assert served == sorted(served, key=served.index), "who has seen the new one never sees the old"
    report(f"other certificates: {len(asked)} requests, all answered")
    house.hand_over()
    assert house.door("alices").ask("/v1/models").status == 200, "with the new one of the client"


def test_a_key_is_taken_back(house: House, report: Callable[[str], None]) -> None:
    with house.load("leaver", tokens=LONG) as asked:
        said = house.play("revoke", key="leaver")
        time.sleep(2)
    printed = re.search(
        r"leaver is refused by inference, ([0-9.]+) s after the order", " ".join(said.split())
    )
    assert printed, said[-4000:]
    moment = min(request.began for request in asked if request.outcome == "401")
    (open_,) = [one for one in of(asked, "stream") if one.outcome not in ("200", "401")]
    assert abs(open_.ended - moment) <= 2
    before = {request.outcome for request in asked if request.ended < moment and request != open_}
    assert before == {"200"}
    assert {request.outcome for request in asked if request.began > moment + 1} == {"401"}
    report(
        f"revoked key: refused {printed[1]} s after the order, as the play says; its stream ended "
        f"{open_.ended - moment:+.2f} s from the first refusal"
    )


def test_a_certificate_is_taken_back(house: House, report: Callable[[str], None]) -> None:
    with house.load("bobs", BOB, tokens=LONG) as asked:
        said = house.play("revoke", certificate=BOB)
    printed = re.search(r"refused by inference ([0-9.]+) seconds", " ".join(said.split()))
    assert printed, said[-4000:]
    answered = [request for request in asked if request.outcome == "200"]
    refused = [request for request in asked if request.outcome != "200"]
    assert of(answered, "newcomer")
    assert {request.way for request in refused} == WAYS
    # At once for who comes; for who is there, a second later.
    first = min(request.began for request in of(refused, "newcomer"))
    assert max(request.began for request in of(answered, "newcomer")) < first
    assert max(request.ended for request in refused if request.began < first) - first < 5
    assert max(request.ended for request in answered) - first < 5
    report(f"revoked certificate: refused {printed[1]} s after the order, as the play says")
