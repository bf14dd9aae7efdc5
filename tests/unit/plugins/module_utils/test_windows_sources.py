# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import windows_sources
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError

ONE_LINE = """\
# deb http://commented.example.org/debian trixie main
deb http://deb.debian.org/debian trixie main # deb http://late.example.org x y
  deb-src [arch=amd64 signed-by=/k.gpg]   https://Security.Debian.ORG/debian-security trixie-security main
deb cdrom:[Debian 13]/ trixie main
deb file:/srv/mirror ./
deb http://user:secret@[2001:db8::1]:8080/debian ./
rpm http://rpm.example.org x y
deb
"""
DEB822 = """\
# A comment
Types: deb
URIs: http://deb.debian.org/debian
 https://mirror.example.org/debian
Suites: trixie

Types: deb
uris:http://lower.example.org/
Enabled: yes

Types: deb
URIs: http://off.example.org/
Enabled: no

URIs: http://last.example.org/
"""


def found(root: Path) -> list[tuple[str, int]]:
    return [(source.name, source.port) for source in windows_sources.read(str(root))]


def write(root: Path, name: str, text: str | bytes) -> None:
    path = root / "etc/apt" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_both_styles_are_read_and_what_is_off_is_not(tmp_path: Path) -> None:
    write(tmp_path, "sources.list", ONE_LINE)
    write(tmp_path, "sources.list.d/a.sources", DEB822)
    write(tmp_path, "sources.list.d/a.sources.bak", "deb http://backup.example.org/ ./\n")
    assert found(tmp_path) == [
        ("2001:db8::1", 8080),
        ("deb.debian.org", 80),
        ("last.example.org", 80),
        ("lower.example.org", 80),
        ("mirror.example.org", 443),
        ("security.debian.org", 443),
    ]


def test_a_file_with_line_ends_of_another_system_is_read(tmp_path: Path) -> None:
    write(tmp_path, "sources.list.d/a.sources", DEB822.replace("\n", "\r\n"))
    assert ("last.example.org", 80) in found(tmp_path)
    assert ("off.example.org", 80) not in found(tmp_path)


def test_a_host_without_sources_names_nothing(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    "uri",
    [
        "http://a_b.example.org/",
        "http://exa;mple.org/",
        "http:///debian",
        "http://a.org:99999/",
        "http://[::1",
        "http://a.org:x/",
        "http://-a.org/",
        "http://fe80::1%eth0/",
        "http://" + "a." * 127 + "org/",
    ],
)
def test_a_name_that_is_none_is_refused_without_its_password(tmp_path: Path, uri: str) -> None:
    write(tmp_path, "sources.list", f"deb {uri.replace('http://', 'http://user:secret@', 1)} ./\n")
    with pytest.raises(
        AirlockError, match=r"sources\.list: the host of this package source is no name"
    ) as caught:
        found(tmp_path)
    assert "secret" not in str(caught.value)


def test_too_much_is_refused(tmp_path: Path) -> None:
    for index in range(257):
        write(tmp_path, f"sources.list.d/{index}.list", "")
    with pytest.raises(AirlockError, match="too many"):
        found(tmp_path)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "sources.list", b"#" * (1024 * 1024 + 1))
    with pytest.raises(AirlockError, match="too large"):
        found(tmp_path)


def test_any_bytes_end_in_names_or_in_a_refusal(tmp_path: Path) -> None:
    chosen = random.Random(3)  # noqa: S311
    pieces = [
        b"deb ",
        b"URIs: ",
        b"http://",
        b"https://[",
        b"]",
        b"\n",
        b"\n\n",
        b" ",
        b"a.org",
        b"\xff",
        b"#",
        b":",
    ]
    for _attempt in range(400):
        data = b"".join(chosen.choices(pieces, k=chosen.randrange(40)))
        for name in ("sources.list", "sources.list.d/x.sources"):
            write(tmp_path, name, data)
        with contextlib.suppress(AirlockError):
            assert all(windows_sources.is_name(name) for name, _port in found(tmp_path))
