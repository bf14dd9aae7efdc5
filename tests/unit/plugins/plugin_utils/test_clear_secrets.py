# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.plugin_utils import clear_secrets, roles

NAMES = roles.secrets(["preflight", "pki", "audit", "lock"])
PLANTED = "x9" * 21 + "x"
API_KEY = f"aik_laptop_{PLANTED}"
PEM = "-----BEGIN EC PRIVATE KEY-----"


def put(site: Path, name: str, text: str) -> Path:
    path = site / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def look(site: Path) -> list[str]:
    return clear_secrets.findings([str(site)], NAMES)


def test_the_passphrases_are_those_that_the_roles_declare_as_secret() -> None:
    assert NAMES == [
        "airlock_ca_passphrase",
        "airlock_signing_passphrase",
        "audit_passphrase",
        "lock_passphrase",
        "pki_ca_passphrase",
    ]


@pytest.mark.parametrize(
    ("name", "text", "line", "sentence"),
    [
        ("group_vars/all.yml", f"a: 1\nb: {API_KEY}\n", 2, "an API key is in the clear here"),
        ("host_vars/box", f"# {API_KEY} was the first\n", 1, "rotate it, for the collection"),
        ("group_vars/all/deep/a.json", f'{{"a":\n"{API_KEY}"}}', 2, "itself, in secrets/keys"),
        ("inventory.yml", f"all:\n  vars:\n    key: {API_KEY}", 3, "an API key is"),
        ("group_vars/all.yml", f"a: |\n  {PEM}\n  {PLANTED}\n", 2, "a private key is in the clear"),
        (
            "group_vars/all.yml~",
            f'a: "{PEM}\\n{PLANTED}"\n',
            1,
            "keep the key in a file of its own",
        ),
        ("group_vars/all.yml", f"airlock_ca_passphrase: {PLANTED}\n", 1, "ansible-vault encrypt /"),
        ("group_vars/all.yml", "airlock_ca_passphrase: 1234\n", 1, "airlock_ca_passphrase is"),
        (
            "group_vars/all.yml",
            f"a: 1\nlock_passphrase: >-\n  {PLANTED}\n",
            2,
            "or the value with ansible-vault encrypt_string",
        ),
        (
            "inventory.yml",
            f"all: {{children: {{x: {{hosts: {{box:\n {{pki_ca_passphrase: '{PLANTED}'}}}}}}}}}}",
            2,
            "pki_ca_passphrase is",
        ),
        (
            "hosts",
            f"[all:vars]\nairlock_signing_passphrase = '{PLANTED} x'\n",
            2,
            "airlock_signing_passphrase is",
        ),
        ("hosts.ini", f"box a=1 audit_passphrase={PLANTED} b=2\n", 1, "audit_passphrase is"),
        ("host_vars/box.json", f'{{\n\t"audit_passphrase": "{PLANTED}"\n}}', 2, "audit_passphrase"),
    ],
)
def test_a_secret_in_the_clear_is_one_sentence_with_its_place(
    tmp_path: Path, name: str, text: str, line: int, sentence: str
) -> None:
    path = put(tmp_path, name, text)
    (finding,) = look(tmp_path)
    assert finding.startswith(f"{path}, line {line}: ")
    assert sentence in finding
    assert PLANTED not in finding


@pytest.mark.parametrize(
    "text",
    [
        "$ANSIBLE_VAULT;1.1;AES256\n3630\n",
        "airlock_ca_passphrase: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3630\n",
        "airlock_ca_passphrase: \"{{ lookup('env', 'CA_PASSPHRASE') }}\"\n",
        "airlock_ca_passphrase: >-\n  {{ lookup('ansible.builtin.pipe', 'pass ca') }}\n",
        'airlock_ca_passphrase: ""\n',
        "airlock_ca_passphrase:\n",
        "# airlock_ca_passphrase: keep it in a vault file\n",
        "[all:vars]\nairlock_ca_passphrase={{ lookup('env', 'X') }}\nlock_passphrase=\"\"\n",
        "[all:vars]\n# airlock_ca_passphrase = comes from the vault\n",
        "airlock_api_keys: {laptop: {services: [chat]}}\nnote: aik_laptop_ is how it begins\n",
        "a: |\n  -----BEGIN ENCRYPTED PRIVATE KEY-----\n",
        "a: |\n  -----BEGIN CERTIFICATE-----\n",
        f"{PEM}\n{PLANTED}\n",  # a file of its own
        "a: &a {b: *a}\n",
        "[" * 1_000_000 + "airlock_ca_passphrase",
    ],
)
@pytest.mark.parametrize("name", ["inventory", "group_vars/all/vars"])
def test_what_is_encrypted_or_comes_from_elsewhere_is_fine(
    tmp_path: Path, name: str, text: str
) -> None:
    put(tmp_path, name, text)
    assert look(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        "secrets/keys/laptop.key",
        "pki/root.key",
        "state/signing.key",
        "notes.md",
        ".x.yml",
        "group_vars/.x",
    ],
)
def test_what_is_no_variable_is_not_looked_at(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, f"{API_KEY}\n")
    assert look(tmp_path) == []


def test_links_are_followed_within_the_site_alone(tmp_path: Path) -> None:
    site = tmp_path / "site"
    put(site, "group_vars/all.yml", "a: 1\n")
    put(tmp_path, "elsewhere/all.yml", API_KEY)
    (site / "group_vars/more").symlink_to(tmp_path / "elsewhere")
    (site / "host_vars").symlink_to(tmp_path / "elsewhere")
    (site / "group_vars/loop").symlink_to(site / "group_vars")
    (site / "group_vars/self").symlink_to("self")
    (site / "group_vars/gone").symlink_to("nowhere")
    assert look(site) == []
    put(site, "shared/x.yml", API_KEY)
    (site / "group_vars/shared").symlink_to(site / "shared")
    assert len(look(site)) == 1


def test_a_site_behind_a_link_is_looked_through_once(tmp_path: Path) -> None:
    put(tmp_path, "site/group_vars/all.yml", API_KEY)
    (tmp_path / "mine").symlink_to("site")
    folders = [str(tmp_path / "mine"), str(tmp_path / "site"), str(tmp_path / "site/nowhere")]
    assert len(clear_secrets.findings(folders, NAMES)) == 1


def test_the_work_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clear_secrets, "_MAX_BYTES", 99)
    monkeypatch.setattr(clear_secrets, "_MAX_FILES", 3)
    put(tmp_path, "group_vars/a", "x" * 99)
    put(tmp_path, "group_vars/b", "x")
    assert look(tmp_path) == []
    large = put(tmp_path, "group_vars/a", "x" * 100)
    assert look(tmp_path) == [
        f"{large}: this is too large to look through for secrets: expected at most 99 bytes; keep it elsewhere, "
        "or write it as several files."
    ]
    large.unlink()
    for name in "cd":
        put(tmp_path, f"group_vars/{name}", "x")
    assert "too many files to look through for secrets: expected at most 3" in look(tmp_path)[0]


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "group_vars/a", "x")

    def refuse(where: str, _limit: int) -> bytes:
        raise PermissionError(13, "Permission denied", where)

    monkeypatch.setattr(clear_secrets, "read_limited", refuse)
    assert look(tmp_path) == [
        f"{path}: it cannot be looked through for secrets: Permission denied; let yourself read it."
    ]
