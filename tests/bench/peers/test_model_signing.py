# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles of the real model-signing, read by us; and what both say to a file that was put in afterwards."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils import model_signing
from ansible_collections.homelab.airlock.tests.unit.plugins.plugin_utils import publisher

PROGRAM = str(Path(sys.executable).with_name("model_signing"))


def peer(*arguments: str) -> bool:
    """Return whether the tool of the format's makers succeeds."""
    return subprocess.run([PROGRAM, *arguments], capture_output=True, check=False).returncode == 0


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "weights" / "model.safetensors").write_bytes(bytes(1000))
    return folder


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> str:
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(path)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_signature_with_a_key(tmp_path: Path, model: Path, curve: ec.EllipticCurve) -> None:
    key = publisher.key(curve)
    private, public, bundle = tmp_path / "key", tmp_path / "key.pub", tmp_path / "model.sig"
    write_key(private, key)
    public.write_bytes(publisher.pem(key))
    assert peer(
        "sign", "key", str(model), "--private_key", str(private), "--signature", str(bundle)
    )
    signed = model_signing.by_key(bundle.read_bytes(), public.read_bytes(), "here")
    model_signing.refuse_difference(signed, digests(model), "here")

    (model / ".git").mkdir()
    (model / ".git" / "config").write_text("[core]\n\tfsmonitor = id\n")
    verify = ("verify", "key", str(model), "--public_key", str(public), "--signature", str(bundle))
    assert peer(*verify)  # they take it, because the bundle says to ignore it
    with pytest.raises(AirlockError, match=r"\.git/config"):
        model_signing.refuse_difference(signed, digests(model), "here")


def test_a_signature_with_a_certificate(tmp_path: Path, model: Path) -> None:
    root, key = publisher.key(), publisher.key()
    pem = serialization.Encoding.PEM
    authority = publisher.certificate("root", root, "root", root, authority=True)
    certificate = publisher.certificate("release", key, "root", root)
    bundle = tmp_path / "model.sig"
    for name, each in (("root", authority), ("leaf", certificate)):
        (tmp_path / name).write_bytes(each.public_bytes(pem))
    assert peer(
        *("sign", "certificate", str(model), "--signature", str(bundle)),
        *("--private_key", write_key(tmp_path / "key", key)),
        *("--signing_certificate", str(tmp_path / "leaf")),
        *("--certificate_chain", str(tmp_path / "root")),
    )
    signed = model_signing.by_certificate(
        bundle.read_bytes(),
        authority.public_bytes(pem),
        "release@models.example",
        publisher.BORN + publisher.YEAR / 2,
        "here",
    )
    model_signing.refuse_difference(signed, digests(model), "here")


def test_what_a_verification_costs(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = publisher.key()
    public, bundle = tmp_path / "key.pub", tmp_path / "model.sig"
    public.write_bytes(publisher.pem(key))
    (model / "weights" / "model.safetensors").write_bytes(bytes(256 * 2**20))
    private = write_key(tmp_path / "key", key)
    assert peer("sign", "key", str(model), "--private_key", private, "--signature", str(bundle))
    files = digests(model)

    def ours() -> None:
        signed = model_signing.by_key(bundle.read_bytes(), public.read_bytes(), "here")
        model_signing.refuse_difference(signed, files, "here")

    def theirs() -> None:
        assert peer(
            *("verify", "key", str(model), "--public_key", str(public)),
            *("--signature", str(bundle)),
        )

    mine = seconds(ours, resource.RUSAGE_SELF)
    other = seconds(theirs, resource.RUSAGE_CHILDREN)
    with capsys.disabled():
        print(
            f"\n  a signed model of 256 MiB whose digests are known: {mine * 1000:.1f} ms of CPU; "
            f"model_signing verify: {other * 1000:.0f} ms"
        )
    assert mine * 20 < other


def seconds(work: Callable[[], None], who: int) -> float:
    """Return the CPU time of ``work``, user and system."""
    before = resource.getrusage(who)
    work()
    after = resource.getrusage(who)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
