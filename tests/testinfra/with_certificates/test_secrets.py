# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of the house is where it does not belong: a search over all that its hosts and its controller wrote.

By its name it comes last, when every other test has left its traces.
"""

from __future__ import annotations

import shlex
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from testinfra.host import Host

from ..conftest import SSH_CONFIG, host_of
from .conftest import FOLDER, PLANTED, needles

if TYPE_CHECKING:
    from .conftest import House

# Prints where a line of its standard input is; printf is the shell's own, so that none is in a list of arguments.
SEARCH = r"""
needles=$(cat)
found() { grep --text --fixed-strings --no-messages --file=<(printf '%s\n' "$needles") "$@"; }
found --recursive --files-with-matches --devices=skip --exclude-dir={cache,journal,store} "$@"
journalctl --quiet --no-pager --output=export | found --quiet && echo journal
found --files-with-matches /proc/[0-9]*/cmdline /proc/[0-9]*/environ
true
"""
ROOTS = ["/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/lib", "/usr/local", "/var"]  # noqa: S108
HOSTS = ["inference", "client", "loghost", "router", "wan"]
EDGE_KEY = "/etc/airlock/pki/edge.pem.key"
LOG = f"/var/log/{PLANTED[::-1]}.log"


def search(host: str, wanted: set[str]) -> set[str]:
    """Return where on ``host`` a text of ``wanted`` is: files, of processes too, or the journal."""
    command = shlex.join(["sudo", "bash", "-c", SEARCH, "search", *ROOTS])
    return _run(["ssh", "-F", str(SSH_CONFIG), host, command], wanted)


def _run(command: list[str], wanted: set[str]) -> set[str]:
    done = subprocess.run(
        command, input="\n".join(sorted(wanted)), capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def secrets(house: House, inference: Host) -> set[str]:
    """Return every secret of the house, of now and of before, as a search finds it."""
    texts = [inference.file(EDGE_KEY).content_string]
    for folder in ("pki", "state", "secrets"):
        for kind in ("*.key", "*.passphrase"):
            texts += [file.read_text() for file in (house.site / folder).rglob(kind)]
    house.handled.update(line for text in texts for line in needles(text))
    return house.handled


@pytest.fixture(scope="module")
def places(client: Host) -> tuple[str, ...]:
    """Return where the design puts one: for the edge, and what the tests brought to their client."""
    home = client.check_output("pwd")
    brought = (f"{home}/{name}" for name in ("api.header", "other.header", f"{FOLDER}/"))
    return EDGE_KEY, "/run/airlock/edge/edge.pem.key", *brought


@pytest.mark.parametrize("host", HOSTS)
def test_no_secret_is_on_a_host_but_where_it_belongs(
    secrets: set[str], places: tuple[str, ...], host: str
) -> None:
    found = search(host, secrets)
    assert sorted(path for path in found if not path.startswith(places)) == []
    machine = host_of(host, sudo=True)
    assert [path for path in found if machine.file(path).mode & 0o007] == []
    assert found or host not in ("inference", "client"), "the search finds what is there"


def test_no_secret_is_on_the_controller_but_where_it_belongs(
    house: House, secrets: set[str]
) -> None:
    roots = [str(house.site.parent), str(Path("~/.ansible").expanduser()), "/var/log"]
    found = _run(["bash", "-c", SEARCH, "search", *roots], secrets)
    kept = {
        str(path)
        for kind in ("pki/*.key", "secrets/**/*", "state/*.key")
        for path in house.site.glob(kind)
    }
    assert sorted(found - kept) == []
    assert {stat.S_IMODE(Path(path).stat().st_mode) for path in found} == {0o600}


def test_no_secret_is_in_what_plays_print_or_processes_are_called_with(
    house: House, secrets: set[str], command_lines: Callable[[], set[str]]
) -> None:
    assert any(" SSH: EXEC " in text for text in house.said), "they ran at -vvv"
    assert [text for text in house.said if any(secret in text for secret in secrets)] == []
    seen = command_lines()
    assert any(PLANTED in line for line in seen), "the positive control"
    assert [line for line in seen if any(secret in line for secret in secrets)] == []


@pytest.fixture
def planted(inference: Host) -> Iterator[str]:
    """Put a text into a log, the journal and the arguments of a process; return it."""
    text = PLANTED[::-1]
    inference.check_output("printf %%s %s | tee %s | systemd-cat", text, LOG)
    inference.check_output("systemd-run --unit=planted tail --follow /dev/null %s", LOG)
    yield text
    inference.check_output("systemctl stop planted.service; rm %s", LOG)


def test_the_search_finds_what_is_planted(planted: str) -> None:
    found = search("inference", {planted})
    assert {LOG, "journal"} <= found
    assert any(path.endswith("/cmdline") for path in found)
