# SPDX-License-Identifier: GPL-3.0-or-later
"""Two small models in every layout that models come in, and a server that has them over HTTPS.

``python3 -m corpus.hub DIRECTORY`` (in tests/) lays them out, with ``serve`` after it serves until killed;
``DIRECTORY/facts.json`` says where and under which digests, ``cert.pem`` is the certificate to trust. What
``faults.json`` says of a path is done to it: ``{"/path": {"cut": 100}}`` breaks off after 100 bytes,
``{"status": 503}``, ``{"body": "…"}`` and ``{"to": "http://…"}`` answer so.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import sys
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .gguf_cases import gguf
from .safetensors_cases import INDEX, safetensors, tensor

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "house/sharded"
TINY = gguf()
SHARDS = {
    "model-00001-of-00002.safetensors": safetensors({"a.weight": tensor()}, b"a" * 16),
    "model-00002-of-00002.safetensors": safetensors({"b.weight": tensor()}, b"b" * 16),
}
SHARDED = {
    "config.json": b'{"architectures": ["TinyForCausalLM"], "hidden_size": 2}',
    "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
    INDEX: json.dumps(
        {
            "metadata": {"total_size": 32},
            "weight_map": {"a.weight": next(iter(SHARDS)), "b.weight": list(SHARDS)[1]},
        }
    ).encode(),
    **SHARDS,
}
# What a repository has besides, and nobody listed.
OTHERS = {".gitattributes": b"*.safetensors filter=lfs\n", "modeling_tiny.py": b"import os\n"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def manifest(weights: bytes = TINY, *more: dict[str, Any]) -> bytes:
    """Return a manifest of Ollama's for these weights."""
    kind = "application/vnd.ollama.image."
    layers = [
        {"mediaType": kind + "model", "digest": f"sha256:{sha256(weights)}", "size": len(weights)},
        {"mediaType": kind + "license", "digest": f"sha256:{sha256(b'MIT')}", "size": 3},
        *more,
    ]
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "x", "digest": f"sha256:{sha256(b'{}')}", "size": 2},
            "layers": layers,
        }
    ).encode()


def _hub(root: Path) -> None:
    """The server's and the cache's layout of the sharded model."""
    siblings = []
    cache = root / "hub" / "models--house--sharded"
    for name, data in {**SHARDED, **OTHERS}.items():
        large = name.endswith(".safetensors")
        entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git(data)}
        if large:
            entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 130}
            _write(root / "www" / "cdn" / sha256(data), data)
        else:
            _write(root / "www" / REPOSITORY / "resolve" / COMMIT / name, data)
        siblings.append(entry)
        blob = _write(cache / "blobs" / (sha256(data) if large else git(data)), data)
        link = cache / "snapshots" / COMMIT / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../../blobs") / blob.name)
    answer = {"sha": COMMIT, "cardData": {"license": "apache-2.0", "score": 0.5}}
    _write(
        root / "www" / "api/models" / REPOSITORY / "revision" / COMMIT,
        json.dumps({**answer, "siblings": siblings}).encode(),
    )


def lay_out(root: Path) -> dict[str, Any]:
    """Make every layout below ``root``; return what a test has to know of it."""
    _hub(root)
    store = root / "ollama"
    _write(store / "manifests/registry.ollama.ai/library/tiny/1b", manifest())
    _write(root / "www/v2/library/tiny/manifests/1b", manifest())
    for data in (TINY, b"MIT", b"{}"):
        _write(store / "blobs" / f"sha256-{sha256(data)}", data)
        _write(root / "www/v2/library/tiny/blobs" / f"sha256:{sha256(data)}", data)
    _write(root / "www/tiny.gguf", TINY)
    _write(root / "vault" / f"sha256-{sha256(TINY)}", TINY)
    wheel = root / "wheels" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/__init__.py", "raise SystemExit('imported')\n")
        archive.writestr("tiny/tiny.gguf", TINY)
        archive.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: hub\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    return {
        "commit": COMMIT,
        "repository": REPOSITORY,
        "files": list(SHARDED),
        "tiny": {"sha256": sha256(TINY), "size": len(TINY)},
        "manifest": f"sha256:{sha256(manifest())}",
        "wheel": sha256(wheel.read_bytes()),
    }


def _certificate(root: Path) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
        f" -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {root}/key.pem -out {root}/cert.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True)


def serve(root: Path, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """Return a server of ``root``/www on loopback, not yet serving, and its address."""
    _certificate(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            faults = root / "faults.json"
            fault = json.loads(faults.read_bytes()).get(path, {}) if faults.exists() else {}
            with (root / "asked").open("a") as log:
                log.write(f"{self.path} {self.headers.get('Range', '-')}\n")
            file = root / "www" / path.lstrip("/")
            if path.startswith(f"/{REPOSITORY}/resolve") and file.name in SHARDS and not fault:
                fault = {"to": f"/cdn/{sha256(SHARDS[file.name])}?X-Signature=secret"}
            if "to" in fault:
                self._answer(302, b"", Location=fault["to"])
                return
            if "status" in fault or not (file.is_file() or "body" in fault):
                self._answer(fault.get("status", 404), b"")
                return
            data = fault["body"].encode() if "body" in fault else file.read_bytes()
            start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
            if start >= len(data):
                self._answer(416, b"")
                return
            end = (self.headers.get("Range") or "-").rpartition("-")[2]
            part = data[start : int(end) + 1 if end else None]
            headers = {}
            if "Range" in self.headers:
                headers = {"Content_Range": f"bytes {start}-{start + len(part) - 1}/{len(data)}"}
            self._answer(206 if headers else 200, part, fault.get("cut"), **headers)

        def _answer(self, status: int, body: bytes, cut: int | None = None, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])
            if cut is not None:
                self.close_connection = True

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root / "cert.pem", root / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server, f"https://localhost:{server.server_port}"


def main() -> None:
    root = Path(sys.argv[1])
    facts = lay_out(root)
    if sys.argv[2:] == ["serve"]:
        server, facts["address"] = serve(root)
    found = _write(root / ".facts", json.dumps(facts).encode())
    found.rename(root / "facts.json")
    if "address" in facts:
        server.serve_forever()


if __name__ == "__main__":
    main()
