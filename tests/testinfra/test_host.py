# SPDX-License-Identifier: GPL-3.0-or-later
"""The inference host from inside, as its administrator sees it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from testinfra.host import Host

from .variant import flip

if TYPE_CHECKING:
    from conftest import Api

AUDIT = "/var/log/airlock/audit/audit.jsonl"


def units(releases: dict[str, str]) -> list[str]:
    runtimes = [f"airlock-runtime@{release}.service" for release in releases.values()]
    services = [f"airlock-{name}.service" for name in ("edge", "gatekeeper", "audit")]
    return [*services, *runtimes]


def properties(host: Host, unit: str, *names: str) -> dict[str, str]:
    shown = host.check_output("systemctl show --property=%s %s", ",".join(names), unit)
    return dict(line.split("=", 1) for line in shown.splitlines())


def test_everything_runs(inference: Host, releases: dict[str, str]) -> None:
    sockets = [f"airlock-{name}.socket" for name in ("edge", "gatekeeper", "audit", "metrics")]
    others = [*sockets, "airlock-audit-content.timer", "airlock-egress.service"]
    for unit in units(releases) + others:
        assert inference.service(unit).is_running, unit


def test_nothing_in_the_path_of_the_data_has_a_network(
    inference: Host, releases: dict[str, str]
) -> None:
    names = ["PrivateNetwork", "NoNewPrivileges", "CapabilityBoundingSet", "User", "MainPID"]
    for unit in units(releases):
        shown = properties(inference, unit, *names)
        assert shown["PrivateNetwork"] == "yes", unit
        assert shown["NoNewPrivileges"] == "yes", unit
        assert shown["CapabilityBoundingSet"] == "", unit
        assert shown["User"].startswith("airlock-"), unit
        enter = f"nsenter --net=/proc/{shown['MainPID']}/ns/net"
        links = inference.check_output(f"{enter} ip -brief link")
        assert [line.split()[0] for line in links.splitlines()] == ["lo"], unit


def test_the_sandboxes_score_at_most_one(inference: Host, releases: dict[str, str]) -> None:
    for unit in units(releases):
        text = inference.check_output("systemd-analyze security --no-pager %s | tail -n 1", unit)
        score = re.search(r"(\d+\.\d+)", text)
        assert score, text
        assert float(score.group(1)) <= 1.0, text


def test_systemd_keeps_the_port_while_the_edge_is_down(inference: Host, api: Api) -> None:
    inference.check_output("systemctl stop airlock-edge.service")
    try:
        assert inference.socket("tcp://8443").is_listening
    finally:
        inference.check_output("systemctl start airlock-edge.service")
    assert api.ask("/v1/models").status == 200


def test_one_line_of_audit_for_each_request(inference: Host, api: Api) -> None:
    def lines() -> list[str]:
        lines = inference.file(AUDIT).content_string.splitlines()
        return [line for line in lines if '"kind":"done"' in line]

    before = lines()
    private = "the safe is behind the picture"
    assert api.chat(private, max_tokens=4).status == 200
    assert api.ask("/v1/models").status == 200
    assert api.ask("/v1/models", key=False).status == 401
    new = lines()[len(before) :]
    assert len(new) == 3
    assert [json.loads(line)["status"] for line in new] == [200, 200, 401]
    assert private not in "".join(new)
    assert api.key not in "".join(new)


def test_secrets_are_readable_by_nobody_else(inference: Host, api: Api) -> None:
    assert inference.file("/etc/airlock/pki/edge.pem.key").mode == 0o400
    keys = inference.file("/etc/airlock/gateway/keys.json")
    assert (keys.mode, keys.user, keys.group) == (0o640, "root", "airlock-gatekeeper")
    assert api.key not in keys.content_string


def reached(host: Host, address: str) -> bool:
    where = f"[{address}]" if ":" in address else address
    return host.run("curl --silent --max-time 3 --output /dev/null %s", f"http://{where}/").rc == 0


def refusals(host: Host) -> int:
    """Return how many packets the host has been refused so far."""
    counter = host.check_output("nft list counter inet airlock out_refused")
    return int(re.findall(r"packets (\d+)", counter)[0])


@pytest.mark.parametrize("family", ["address4", "address6"])
def test_the_way_out_is_closed_for_the_host_and_open_for_the_client(
    inference: Host, client: Host, intent: dict[str, list[dict[str, str]]], family: str
) -> None:
    (target,) = intent["airlock_probe_targets"]
    before = refusals(inference)
    assert not reached(inference, target[family])
    assert refusals(inference) > before
    assert reached(client, target[family])


@pytest.fixture
def flipped(inference: Host, releases: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Change one byte of the model of `chat`; give its file and its unit; put it right again."""
    manifest = inference.file(f"/etc/airlock/releases/{releases['chat']}.manifest.json")
    (entry,) = json.loads(manifest.content_string)["files"]
    model = f"/var/lib/airlock/store/sha256-{entry['sha256']}"
    unit = f"airlock-runtime@{releases['chat']}.service"
    inference.check_output("systemctl stop %s", unit)
    flip(inference, model)
    yield model, unit
    flip(inference, model)
    # Every release that holds the file starts anew: site.yml would see that it changed under them.
    inference.check_output("systemctl reset-failed %s; systemctl restart 'airlock-runtime@*'", unit)
    inference.check_output("systemctl start %s", unit)


def test_one_flipped_byte_and_the_model_is_not_served(
    inference: Host, flipped: tuple[str, str]
) -> None:
    model, unit = flipped
    since = inference.check_output("date +%s")
    assert inference.run("systemctl start %s", unit).rc != 0
    time.sleep(3)
    shown = properties(inference, unit, "ActiveState", "NRestarts")
    assert shown == {"ActiveState": "failed", "NRestarts": "0"}
    said = inference.check_output("journalctl -o cat --since=@%s --unit=%s", since, unit)
    assert f"{model}: the file is not the approved one: expected blake3" in said
    assert inference.run("systemctl start %s", unit).rc != 0
    again = inference.check_output("journalctl -o cat --since=@%s --unit=%s", since, unit)
    assert "Nothing has changed since it was refused." in again


def test_and_it_is_served_again_when_the_byte_is_right(api: Api) -> None:
    assert api.chat("Hello", max_tokens=4).status == 200
