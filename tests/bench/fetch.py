# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to fetch a large file, and to find it unchanged: artifact_fetch beside ansible.builtin.get_url.

Both take it from an HTTPS server of this machine, with its SHA-256. CPU seconds of the module's process (user and
system), less those that the same module takes for a file of one byte, which is the start of Python and Ansible; taken
in turns within one run, the least of each. Needs openssl; touches nothing outside a temporary directory.

    python3 tests/bench/fetch.py [--size 256] [--rounds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

GOALS = (("fresh", 0.5), ("unchanged", 0.02))  # at most this share of what get_url takes
NOISE_SECONDS = 0.01  # what a process takes more or less than the one before
RUN = """
import json, sys
from importlib import import_module
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.loads(sys.argv[2])):
    import_module(sys.argv[1]).main()
"""
OURS = "ansible_collections.homelab.airlock.plugins.modules.artifact_fetch"
THEIRS = "ansible.modules.get_url"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, work: Path) -> Iterator[str]:
    """Serve ``folder`` over HTTPS in another process's stead: a thread, whose CPU no child's figure holds."""
    key, certificate = work / "key.pem", work / "certificate.pem"
    words = (
        "-newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        ["openssl", "req", "-x509", *words.split(), "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["SSL_CERT_FILE"] = str(certificate)
        yield f"https://localhost:{server.server_port}"
        server.shutdown()


def cost(module: str, arguments: dict[str, object], *, changed: bool) -> float:
    """Run a module in a process of its own and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", RUN, module, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = json.loads(done.stdout or "{}")
    if done.returncode or answer.get("changed") is not changed:
        raise SystemExit(f"{module}: expected changed={changed}, found {done.stdout}{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def once(file: Path, url: str, work: Path) -> dict[str, float]:
    """Fetch ``file`` with both modules, and ask both again; return the CPU seconds of each."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = {
        "name": "file",
        "sha256": sha256,
        "size": file.stat().st_size,
        "source": {"type": "https", "url": url, "sha256": sha256},
    }
    found = {}
    with tempfile.TemporaryDirectory(dir=work) as place:
        ours = {"cache": f"{place}/cache", "artifacts": [entry]}
        theirs = {"url": url, "dest": f"{place}/file", "checksum": f"sha256:{sha256}"}
        for name, changed in (("fresh", True), ("unchanged", False)):
            found[f"ours {name}"] = cost(OURS, ours, changed=changed)
            found[f"get_url {name}"] = cost(THEIRS, theirs, changed=changed)
    return found


def beyond(least: dict[str, float]) -> dict[str, float]:
    """Return what the large file costs beyond the small one, each way."""
    names = [key.removeprefix("large ") for key in least if key.startswith("large ")]
    return {name: max(least[f"large {name}"] - least[f"small {name}"], 0.0) for name in names}


def is_met(cost: dict[str, float], name: str, most: float) -> bool:
    return cost[f"ours {name}"] - NOISE_SECONDS <= most * cost[f"get_url {name}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="MiB of the file")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        files = work / "files"
        files.mkdir()
        (files / "small").write_bytes(b"x")
        (files / "large").write_bytes(os.urandom(1 << 20) * options.size)
        least: dict[str, float] = {}
        with served(files, work) as url:
            # What more a round took is what else the machine did, which it may do for a while.
            for done in range(6 * options.rounds):
                if done >= options.rounds and all(is_met(beyond(least), *goal) for goal in GOALS):
                    break
                for size in ("small", "large"):
                    for name, seconds in once(files / size, f"{url}/{size}", work).items():
                        key = f"{size} {name}"
                        least[key] = min(seconds, least.get(key, seconds))
    cost_of = beyond(least)
    print(", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in cost_of.items()))
    status = 0
    for name, most in GOALS:
        ours, theirs = cost_of[f"ours {name}"], cost_of[f"get_url {name}"]
        print(f"{name}: {ours / theirs:.3f} x the CPU of get_url, most {most}")
        if not is_met(cost_of, name, most):
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
