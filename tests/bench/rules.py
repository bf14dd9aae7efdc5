# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules of the role egress cost: how long they take to load, and what they take off a stream.

Both run in network namespaces of their own, with the role's own template and 1,000 allow entries,
and are ratios within one run: loading against the smallest table that holds the same sets, and a
stream from the port of the gateway, over a cable of 10 Gbit/s, against the same without rules, in
turns. Needs root, nft, ip, tc, unshare and jinja2; touches nothing outside a temporary directory.

    python3 tests/bench/rules.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "plugins"))

from module_utils import nft_policy  # type: ignore[import-not-found]  # noqa: E402

ENTRIES = 1000
MOST_LOAD_MS = 100
LEAST_THROUGHPUT = 0.97
SERVER, CLIENT, PORT = "192.0.2.1", "192.0.2.2", 8443
STREAM_S = 0.5
# Faster than the wire of any house; without a limit the ratio is that of a cable of 40 Gbit/s, about 0.94.
LINE = "10gbit"
CHUNK = bytes(1 << 20)
TABLE = "table inet airlock"


def rules() -> tuple[str, str]:
    """Return the role's rules and the smallest table with the same sets."""
    allow = [
        {"address": f"198.18.{number >> 8}.{number & 255}", "protocol": "tcp", "port": 443}
        for number in range(ENTRIES)
    ]
    policy = nft_policy.build(
        {
            "admin_networks": ["192.0.2.3"],
            "client_networks": [f"{CLIENT}/32"],
            "ssh_port": 22,
            "gateway_port": PORT,
            "allow": allow,
            "allow_inbound": [],
            "allow_containers": [],
            "apt_proxy": "",
            "displace": [],
        }
    )
    sets = policy.sets({})
    environment = jinja2.Environment(  # noqa: S701 - as Ansible renders it
        loader=jinja2.FileSystemLoader(ROOT / "roles/egress/templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    full = environment.get_template("egress.nft.j2").render(
        __egress_policy={"sets": sets, "passages": [], "bridges": [], "apt_proxy": None},
        __egress_release_uids="860-875",
        __egress_service_uids="876-877",
        egress_ssh_port=22,
        egress_gateway_port=PORT,
        egress_strict_interfaces=[],
    )
    held = "".join(
        f"set {name} {{ type ipv4_addr . inet_proto . inet_service; flags interval; "
        f"elements = {{ {', '.join(sets[name])} }}; }}\n"
        for name in ("outbound4", "answers4")
    )
    return full, f"{TABLE}\ndelete {TABLE}\n{TABLE} {{\n{held}}}\n"


def load_ms(path: Path) -> float:
    start = time.monotonic()
    subprocess.run(["nft", "-f", str(path)], check=True)
    return (time.monotonic() - start) * 1000


def loading(full: Path, small: Path, rounds: int) -> list[str]:
    """Load both in turns; return what is too slow."""
    pairs = [(load_ms(full), load_ms(small)) for _round in range(rounds)]
    ours, least = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"loading {ENTRIES} allow entries: {ours:.0f} ms, {ours / least:.2f} times what the smallest "
        f"table with the same sets takes ({least:.0f} ms); most {MOST_LOAD_MS} ms"
    )
    return [] if ours <= MOST_LOAD_MS else ["loading takes too long"]


def stream(full: Path, pull: Callable[[], int], rounds: int) -> list[str]:
    """Pull with and without the rules in turns; return what is too slow."""
    ratios, seen = [], []
    for _round in range(rounds):
        subprocess.run(["nft", "-f", str(full)], check=True)
        with_rules = pull()
        subprocess.run(["nft", "delete", "table", "inet", "airlock"], check=True)
        without = pull()
        ratios.append(with_rules / without)
        seen.append(with_rules * 8 / STREAM_S / 1e9)
    ratio = statistics.median(ratios)
    print(
        f"a stream from the port of the gateway: {statistics.median(seen):.1f} Gbit/s, {ratio:.3f} of "
        f"what it is without rules; least {LEAST_THROUGHPUT}"
    )
    return [] if ratio >= LEAST_THROUGHPUT else ["the rules slow the stream down too much"]


@contextmanager
def client() -> Iterator[Callable[[], int]]:
    """Yield a function that pulls through a virtual cable for STREAM_S and returns the bytes."""
    server = socket.create_server(("0.0.0.0", PORT))  # noqa: S104 - in a namespace of its own
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    command = ["unshare", "--net", sys.executable, __file__, "--client"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout
        stdout.readline()  # it is in its own namespace
        ip(f"link add v0 type veth peer name v1 netns {process.pid}")
        ip(f"address add {SERVER}/24 dev v0")
        ip("link set v0 up")
        shape = f"qdisc add dev v0 root tbf rate {LINE} burst 4mb latency 20ms"
        subprocess.run(["tc", *shape.split()], check=True)

        def pull() -> int:
            stdin.write("\n")
            stdin.flush()
            return int(stdout.readline())

        try:
            pull()  # the first one also sets the cable up
            yield pull
        finally:
            stdin.close()


def serve(server: socket.socket) -> None:
    while True:
        connection, _peer = server.accept()
        with connection:
            try:
                while True:
                    connection.sendall(CHUNK)
            except OSError:
                continue


def be_client() -> None:
    print(flush=True)
    buffer = bytearray(CHUNK)
    ready = False
    for _line in sys.stdin:
        if not ready:
            ip(f"address add {CLIENT}/24 dev v1")
            ip("link set v1 up")
            ready = True
        with socket.create_connection((SERVER, PORT), 5) as connection:
            received, end = 0, time.monotonic() + STREAM_S
            while time.monotonic() < end:
                received += connection.recv_into(buffer)
        print(received, flush=True)


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


def inside(rounds: int) -> int:
    ip("link set lo up")
    with tempfile.TemporaryDirectory() as work:
        paths: list[Any] = [Path(work, name) for name in ("full.nft", "small.nft")]
        for path, text in zip(paths, rules(), strict=True):
            path.write_text(text)
        wrong = loading(*paths, rounds)
        with client() as pull:
            wrong += stream(paths[0], pull, rounds)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        be_client()
        return 0
    if options.inside:
        return inside(options.rounds)
    again = [sys.executable, __file__, "--inside", f"--rounds={options.rounds}"]
    return subprocess.run(["unshare", "--net", *again], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
