# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.airlock.plugins.module_utils import (
    survey,
    survey_hardware,
    survey_jobs,
    survey_listeners,
    survey_models,
    survey_network,
)
from ansible_collections.homelab.airlock.plugins.module_utils.survey_listeners import Answer
from ansible_collections.homelab.airlock.plugins.modules import host_survey


def nothing(_command: list[str]) -> tuple[int, str]:
    return 127, ""


def silence(_address: str, _port: int, _path: str) -> None:
    return None


def write(root: Path, path: str, text: str) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0100007F:1F90", ("127.0.0.1", 8080)),
        ("00000000:2CAA", ("0.0.0.0", 11434)),  # noqa: S104
        ("00000000000000000000000001000000:0016", ("::1", 22)),
        ("0000000000000000FFFF00000100007F:0050", ("127.0.0.1", 80)),
    ],
)
def test_addresses_of_the_kernel(text: str, expected: tuple[str, int]) -> None:
    assert survey_listeners.decode_address(text) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0.0.0.0", "everywhere"),  # noqa: S104
        ("::", "everywhere"),
        ("127.0.0.53", "itself"),
        ("::1", "itself"),
        ("192.168.1.4", "network"),
    ],
)
def test_reach(address: str, expected: str) -> None:
    assert survey_listeners.reach(address) == expected


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("0::/system.slice/ollama.service\n", "ollama.service"),
        (f"0::/system.slice/docker-{'ab' * 32}.scope\n", "container abababababab"),
        (f"0::/docker/{'ab' * 32}/system.slice/ssh.service\n", "ssh.service"),
        ("0::/user.slice/session-1.scope\n", ""),
    ],
)
def test_who_a_process_belongs_to(cgroup: str, expected: str) -> None:
    assert survey_listeners.unit_of(cgroup) == expected


def test_listeners_have_a_process(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st tx rx tr tm retrnsmt   uid  timeout inode\n"
    row = " 0: 00000000:2CAA 00000000:0000 {state} 0:0 0:0 0 0 0 {inode} 1 0 100 0 0 10 0\n"
    write(
        tmp_path,
        "/proc/net/tcp",
        head + row.format(state="0A", inode=77) + row.format(state="01", inode=78),
    )
    write(tmp_path, "/proc/9/comm", "ollama\n")
    write(tmp_path, "/proc/9/cgroup", "0::/system.slice/ollama.service\n")
    (tmp_path / "proc/9/fd").mkdir()
    (tmp_path / "proc/9/fd/3").symlink_to("socket:[77]")
    # No link, and so an error of readlink(2), as of one that was closed meanwhile.
    (tmp_path / "proc/9/fd/4").touch()
    assert survey_listeners.listeners(str(tmp_path)) == [
        {
            "protocol": "tcp",
            "address": "0.0.0.0",  # noqa: S104
            "port": 11434,
            "reach": "everywhere",
            "process": "ollama",
            "unit": "ollama.service",
        }
    ]


def test_a_socket_of_a_moment_is_no_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = " 0: 00000000:{port} 00000000:0000 07 0:0 0:0 0 0 0 {inode} 1 0 100 0 0 10 0\n"
    kernel, asks = row.format(port="CA6C", inode=0), row.format(port="8FB0", inode=79)
    write(tmp_path, "/proc/net/udp", "head\n" + kernel + asks)

    def it_ends(root: str) -> dict[str, tuple[str, str]]:
        write(Path(root), "/proc/net/udp", "head\n" + kernel)
        return {}

    monkeypatch.setattr(survey_listeners, "_socket_owners", it_ends)
    (found,) = survey_listeners.listeners(str(tmp_path))
    assert (found["port"], found["process"]) == (51820, "")


def models(owner: str) -> Answer:
    return Answer(200, "", json.dumps({"object": "list", "data": [{"id": "m", "owned_by": owner}]}))


NOT_FOUND = Answer(404, "", "not found")
TAGS = Answer(200, "", '{"models": [{"name": "m"}]}')
VERSION = Answer(200, "", '{"version": "0.12.1"}')


@pytest.mark.parametrize(
    ("answers", "product", "access"),
    [
        ([models("library"), TAGS, VERSION, NOT_FOUND], "Ollama", "open"),
        ([NOT_FOUND, Answer(200, "", '{"models": []}'), VERSION, NOT_FOUND], "Ollama", "open"),
        # llama.cpp also answers the questions of Ollama's clients.
        (
            [models("llamacpp"), TAGS, NOT_FOUND, Answer(200, "", '{"status": "ok"}')],
            "llama.cpp",
            "open",
        ),
        ([Answer(401, "llama.cpp", "{}"), *[NOT_FOUND] * 3], "llama.cpp", "key"),
        ([models("vllm"), NOT_FOUND, NOT_FOUND, Answer(200, "uvicorn", "")], "vLLM", "open"),
        (
            [
                NOT_FOUND,
                NOT_FOUND,
                Answer(200, "", '{"version": "1", "deployment_id": ""}'),
                NOT_FOUND,
            ],
            "Open WebUI",
            "other",
        ),
        ([NOT_FOUND, NOT_FOUND, NOT_FOUND, Answer(200, "LocalAI", "")], "LocalAI", "other"),
        ([Answer(403, "", ""), *[NOT_FOUND] * 3], "unknown", "key"),
        ([Answer(200, "", "[" * 100_000)] * 4, "unknown", "other"),
        ([Answer(200, "", '{"data": 5, "models": [1]}')] * 4, "unknown", "other"),
    ],
)
def test_products(answers: list[Answer], product: str, access: str) -> None:
    found = survey_listeners.classify(dict(zip(survey_listeners.PATHS, answers, strict=True)))
    assert (found["product"], found["access"]) == (product, access)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "models", "version", "layers", "config"]), inner)
    ),
    max_leaves=8,
)


@given(json_values)
def test_no_answer_breaks_the_survey(value: Any) -> None:
    answer = Answer(200, "", json.dumps(value))
    found = survey_listeners.classify(dict.fromkeys(survey_listeners.PATHS, answer))
    assert found["access"] in ("open", "key", "other")


@given(json_values)
def test_no_manifest_breaks_the_survey(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    root = tmp_path_factory.mktemp("root")
    write(root, "/root/.ollama/models/manifests/h/n/m/t", json.dumps(value))
    (store,) = survey_models.ollama_stores(str(root))
    assert [model["name"] for model in store["models"]] == ["h/n/m:t"]


def test_only_own_addresses_are_asked_and_fragile_ports_never() -> None:
    asked = []

    def fetch(address: str, port: int, _path: str) -> None:
        asked.append((address, port))

    base = {"protocol": "tcp", "process": "", "unit": ""}
    found = [
        {**base, "address": "0.0.0.0", "port": 8000, "reach": "everywhere"},  # noqa: S104
        {**base, "address": "::", "port": 8001, "reach": "everywhere"},
        {**base, "address": "192.168.1.4", "port": 8002, "reach": "network"},
        {**base, "address": "127.0.0.1", "port": 22, "reach": "itself"},
        {**base, "address": "127.0.0.1", "port": 8003, "reach": "itself", "protocol": "udp"},
    ]
    assert survey_listeners.ask(found, fetch) == []
    assert sorted(asked) == [("127.0.0.1", 8000), ("192.168.1.4", 8002), ("::1", 8001)]


def test_jobs_are_found_and_their_keys_are_not_kept(tmp_path: Path) -> None:
    write(
        tmp_path,
        "/etc/cron.d/ask",
        '# ollama\n* * * * * root curl -H "Bearer sk-1" http://localhost:11434\n',
    )
    write(tmp_path, "/var/spool/cron/crontabs/op", "@daily /home/Ann/bin/sum.sh\n")
    write(tmp_path, "/home/Ann/bin/sum.sh", "#!/bin/sh\nollama run llama3\n")
    write(
        tmp_path,
        "/etc/systemd/system/news.timer",
        "[Timer]\nOnCalendar=daily\nUnit=other.service\n",
    )
    write(
        tmp_path,
        "/etc/systemd/system/other.service",
        "[Service]\nExecStart=curl http://x/v1/chat/completions\n",
    )
    write(tmp_path, "/etc/cron.daily/apt", "#!/bin/sh\napt-get update\n")
    found = survey_jobs.jobs(str(tmp_path))
    assert [(job["where"], job["calls"]) for job in found] == [
        ("/etc/cron.d/ask:2", ":11434"),
        ("/home/Ann/bin/sum.sh:2", "ollama"),
        ("/etc/systemd/system/other.service:2", "/v1/chat/completions"),
    ]
    assert "sk-1" not in json.dumps(found)


def test_stores(tmp_path: Path) -> None:
    write(
        tmp_path,
        "/etc/systemd/system/ollama.service.d/env.conf",
        '[Service]\nEnvironment="OLLAMA_MODELS=/srv/m"\n',
    )
    manifest = {
        "config": {"digest": "sha256:a", "size": 1},
        "layers": [{"digest": "sha256:b", "size": 9}],
    }
    base = "/srv/m/manifests/registry.ollama.ai"
    write(tmp_path, f"{base}/library/llama3/8b", json.dumps(manifest))
    write(tmp_path, f"{base}/someone/thing/latest", "not json")
    write(tmp_path, "/srv/m/blobs/sha256-a", "x")
    write(tmp_path, "/home/Ann/.cache/huggingface/hub/models--org--name/blobs/x", "12345")
    assert survey_models.ollama_stores(str(tmp_path)) == [
        {
            "path": "/srv/m",
            "models": [
                {"name": "llama3:8b", "size": 10, "missing": 1},
                {"name": "registry.ollama.ai/someone/thing:latest", "size": 0, "missing": 0},
            ],
        }
    ]
    assert survey_models.hub_caches(str(tmp_path)) == [
        {"path": "/home/Ann/.cache/huggingface/hub", "models": [{"name": "org/name", "size": 5}]}
    ]


def test_containers_are_read_from_disk(tmp_path: Path) -> None:
    write(tmp_path, "/etc/docker/daemon.json", '{"data-root": "/data"}')
    ports = {
        "8080/tcp": [{"HostIp": "", "HostPort": "3000"}],
        "9/udp": [{"HostIp": "127.0.0.1", "HostPort": "9"}],
    }
    write(
        tmp_path,
        "/data/containers/abc/config.v2.json",
        '{"Name": "/web", "Config": {"Image": "i"}}',
    )
    write(
        tmp_path,
        "/data/containers/abc/hostconfig.json",
        json.dumps({"PortBindings": ports, "NetworkMode": "host"}),
    )
    (container,) = survey_network.containers(str(tmp_path))
    assert container["name"] == "web"
    assert container["host_network"] is True
    assert survey_network.published_everywhere(container) == ["0.0.0.0:3000/tcp"]


def test_redirects_of_both_kinds(tmp_path: Path) -> None:
    rule = [
        {"match": {"left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 80}},
        {"dnat": {"addr": "10.88.0.2", "port": 8080}},
    ]
    chain = {"hook": "input", "policy": "drop"}
    ruleset = {
        "nftables": [
            {"table": {"family": "ip", "name": "n"}},
            {"chain": chain},
            {"rule": {"expr": rule}},
        ]
    }
    line = "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 3000 -j DNAT --to-destination 172.17.0.2:8080\n"

    def run(command: list[str]) -> tuple[int, str]:
        assert command[0] != "iptables-legacy-save", "reading the legacy table would create it"
        return {"nft": (0, json.dumps(ruleset)), "iptables-nft-save": (0, line)}.get(
            command[0], (127, "")
        )

    assert survey_network.firewall(run, str(tmp_path)) == {
        "tables": ["ip n"],
        "input_policy": "drop",
        "ufw": False,
        "firewalld": False,
        "redirects": ["tcp 3000 to 172.17.0.2:8080", "tcp 80 to 10.88.0.2:8080"],
    }


def test_accelerators(tmp_path: Path) -> None:
    device = "/sys/bus/pci/devices/0000:01:00.0"
    for name, value in (("vendor", "0x10de"), ("class", "0x030000"), ("device", "0x2684")):
        write(tmp_path, f"{device}/{name}", value + "\n")
    write(tmp_path, "/sys/bus/pci/drivers/nvidia/new_id", "")
    (tmp_path / device.lstrip("/") / "driver").symlink_to(tmp_path / "sys/bus/pci/drivers/nvidia")
    write(tmp_path, "/proc/modules", "nvidia 1 0 - Live 0x0\next4 1 0 - Live 0x0\n")
    write(
        tmp_path,
        "/proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: 14.2\n",
    )
    seen = survey_hardware.accelerators(str(tmp_path))
    assert seen["gpus"] == [
        {"address": "0000:01:00.0", "vendor": "NVIDIA", "device": "0x2684", "driver": "nvidia"}
    ]
    assert (seen["modules"], seen["nvidia_version"]) == (["nvidia"], "580.95.05")


def test_an_empty_machine_gives_a_survey(tmp_path: Path) -> None:
    seen = survey.survey(nothing, silence, str(tmp_path))
    assert seen["unreadable"] == {}
    assert [finding.key for finding in survey.findings(seen)] == ["firewall:input"]


def test_one_odd_file_does_not_hide_the_rest(tmp_path: Path) -> None:
    write(tmp_path, "/var/lib/containers/storage/overlay-containers/containers.json", "[1]")
    seen = survey.survey(nothing, silence, str(tmp_path))
    assert seen["containers"] is None
    assert list(seen["unreadable"]) == ["containers"]
    assert seen["jobs"] == []


def test_who_is_not_asked_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    seen = survey.survey(nothing, silence, str(tmp_path))
    listener = {"protocol": "tcp", "address": "127.0.0.1", "port": 8000, "reach": "itself"}
    for count, expected in (
        (survey_listeners.MAX_PROBED, []),
        (
            survey_listeners.MAX_PROBED + 1,
            ["Only 256 of 257 TCP listeners were asked who they are."],
        ),
    ):
        seen["listeners"] = [listener] * count
        found = [item for item in survey.findings(seen) if item.key == "listeners:unasked"]
        assert [item.sentence for item in found] == expected


def test_the_worst_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "/etc/cron.d/ask", "* * * * * root ollama run x\n")
    seen: dict[str, Any] = survey.survey(nothing, silence, str(tmp_path))
    seen["answers"] = [
        {
            "address": "::",
            "port": 11434,
            "reach": "everywhere",
            "process": "ollama",
            "unit": "",
            "tls": False,
            "product": "Ollama",
            "access": "open",
            "models": ["m"],
        }
    ]
    report = survey.report(seen)
    assert [finding["severity"] for finding in report["findings"]] == ["high", "medium", "medium"]
    assert report["findings"][0]["sentence"] == (
        "Ollama answers without a key on [::]:11434 (ollama), reachable from other machines; it offers m."
    )


def test_a_listener_that_lies_about_its_answer_has_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as liar:

        def lie() -> None:
            for _connection in range(2):
                connection, _address = liar.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n"
                    )

        thread = threading.Thread(target=lie)
        thread.start()
        assert host_survey.fetch("127.0.0.1", liar.getsockname()[1], "/", 5) is None
        thread.join()
