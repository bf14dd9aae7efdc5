# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import packages
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.ownership import Record


class Apt:
    """A package manager with ``available`` packages and what each needs."""

    def __init__(self, have: dict[str, str], available: dict[str, list[str]]) -> None:
        self.have = dict(have)
        self.available = available
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> tuple[int, str]:
        self.commands.append(command)
        if command[:2] == ["apt-cache", "madison"]:
            return 0, f"{command[2]} | 1.0" if command[2] in self.available else ""
        if command[0] == "dpkg-query":
            rows = [f"ii  {name} {version}" for name, version in self.have.items()]
            return 0, "\n".join([*rows, "rc  gone 1.0"])
        verb = next(word for word in command if word in ("update", "install", "purge"))
        names = [word.split("=") for word in command[command.index(verb) + 1 :]]
        if verb == "install":
            wanted = {name: (rest or ["1.0"])[0] for name, *rest in names}
            for name in list(wanted):
                if name not in self.available:
                    return 100, f"E: Unable to locate package {name}"
                wanted.update({need: wanted.get(need, "1.0") for need in self.available[name]})
            new = {name: version for name, version in wanted.items() if name not in self.have}
            if "--simulate" not in command:
                self.have.update(new)
            return 0, "\n".join(f"Inst {name} ({version} x)" for name, version in new.items())
        if verb == "purge":
            going = {name for name, *_rest in names}
            going |= {name for name in self.have if set(self.available.get(name, [])) & going}
            if "--simulate" not in command:
                self.have = {
                    name: version for name, version in self.have.items() if name not in going
                }
            return 0, "\n".join(f"Purg {name} [1.0]" for name in going)
        return 0, ""


def install(
    record: Record,
    apt: Callable[[list[str]], tuple[int, str]],
    *names: str,
    check: bool = False,
    optional: tuple[str, ...] = (),
    **versions: str,
) -> list[str]:
    return packages.install(
        "demo",
        list(names),
        record,
        apt,
        versions=versions,
        mask=[],
        optional=list(optional),
        check=check,
    )


def test_what_no_source_has_is_left_out_where_it_is_optional() -> None:
    record, apt = Record(), Apt({}, {"b3sum": []})
    assert install(record, apt, optional=("b3sum", "unheard-of"), check=True) == [
        "b3sum: the package is missing"
    ]
    assert install(record, apt, optional=("b3sum", "unheard-of")) == ["b3sum 1.0: installed"]
    assert install(record, apt, optional=("b3sum", "unheard-of")) == []


def test_what_comes_along_is_ours_and_goes_again() -> None:
    record, apt = Record(), Apt({"bash": "5"}, {"proxy": ["lua"], "lua": [], "bash": []})
    assert install(record, apt, "proxy", "bash", check=True) == ["proxy: the package is missing"]
    assert apt.have == {"bash": "5"}
    install(record, apt, "proxy", "bash")
    assert set(record.claims("demo", "packages")) == {"proxy", "lua"}
    assert install(record, apt, "proxy", "bash") == []
    packages.remove("demo", record, apt, check=False)
    assert apt.have == {"bash": "5"}
    assert not record.claims("demo", "packages")


def test_what_an_interrupted_installation_brought_is_ours() -> None:
    record, apt = Record(), Apt({}, {"proxy": ["lua"], "lua": []})

    def interrupted(command: list[str]) -> tuple[int, str]:
        status, output = apt(command)
        return (
            (100, "E: Broken pipe")
            if "--simulate" not in command and status == 0 and ("install" in command)
            else (status, output)
        )

    with pytest.raises(AirlockError, match="Broken pipe"):
        install(record, interrupted, "proxy")
    assert set(record.claims("demo", "packages")) == {"proxy", "lua"}


def test_a_rebuild_pins_dependencies_too() -> None:
    record, apt = Record(), Apt({}, {"proxy": ["lua"], "lua": []})
    install(record, apt, "proxy", lua="0.9", proxy="2.0")
    assert apt.have == {"proxy": "2.0", "lua": "0.9"}


def test_what_the_owner_builds_upon_stays() -> None:
    record, apt = Record(), Apt({}, {"proxy": ["lua"], "lua": [], "game": ["lua"]})
    install(record, apt, "proxy")
    apt.have["game"] = "1.0"
    reasons = packages.remove("demo", record, apt, check=False)
    assert apt.have == {"lua": "1.0", "game": "1.0"}
    assert any("lua: kept" in reason for reason in reasons)


def test_a_package_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(AirlockError, match="Unable to locate package nonsense"):
        install(Record(), Apt({}, {}), "nonsense")
