# SPDX-License-Identifier: GPL-3.0-or-later
"""The contracts of docs/architecture.md that a reader could break without any other test noticing."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
LIBRARY = sorted((ROOT / "plugins" / "module_utils").glob("*.py"))
CONTROL = re.compile(r"\b[A-Z]{2,6}-[0-9]{2}\b")

# Task files that a role does without, and why.
WITHOUT = {
    ("preflight", "present"): "it refuses intent and makes nothing",
    ("preflight", "absent"): "it refuses intent and makes nothing",
    ("preflight", "verify"): "it promises nothing about a host",
}


def load(path: Path) -> Any:
    """Return the YAML document of ``path``, {} for an empty one."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def options(role: str) -> dict[str, Any]:
    """Return the options of the entry point ``main``."""
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")
    return dict(specs["argument_specs"]["main"].get("options") or {})


def defaults(role: str) -> dict[str, Any]:
    """Return the defaults of a role, {} where it has none."""
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    return dict(load(path)) if path.exists() else {}


def controls() -> list[dict[str, Any]]:
    """Return the rows of the control catalogue."""
    return list(load(ROOT / "docs" / "controls.yml")["controls"])


def constants(path: Path) -> dict[str, str]:
    """Return the string constants of a plugin by name, without importing it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_name_the_same_variables(role: str) -> None:
    optional = {name: spec for name, spec in options(role).items() if not spec.get("required")}
    assert set(defaults(role)) == set(optional)
    stated = {name: spec["default"] for name, spec in optional.items() if "default" in spec}
    assert {name: defaults(role)[name] for name in stated} == stated


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_file_for_each_thing_it_can_be_asked(role: str) -> None:
    tasks = ROOT / "roles" / role / "tasks"
    wanted = {
        name for name in ("main", "present", "absent", "verify") if (role, name) not in WITHOUT
    }
    assert wanted <= {path.stem for path in tasks.glob("*.yml")}


@pytest.mark.parametrize("role", [role for role in ROLES if (role, "absent") not in WITHOUT])
def test_state_decides_between_present_and_absent(role: str) -> None:
    assert options(role)[f"{role}_state"]["choices"] == ["present", "absent"]
    assert defaults(role)[f"{role}_state"] == "present"
    assert f"{role}_state" in (ROOT / "roles" / role / "tasks" / "main.yml").read_text()


@pytest.mark.parametrize("role", ROLES)
def test_shared_inputs_are_declared_by_preflight(role: str) -> None:
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "roles" / role / "defaults").glob("*.yml")
    )
    used = set(re.findall(r"(?<![\w.-])airlock_[a-z0-9_]+", re.sub(r"#.*", "", text)))
    assert used <= set(options("preflight"))


def probed() -> set[tuple[str, str]]:
    """Return (role, control) for each control that verify tasks record."""
    files = [(path.parents[1].name, path) for path in ROOT.glob("roles/*/tasks/verify*.yml")]
    # Longer lists of records stand in the variables of their role.
    files += [
        (path.relative_to(ROOT).parts[1], path) for path in ROOT.glob("roles/*/vars/**/*.yml")
    ]
    files += [("playbooks", path) for path in ROOT.glob("playbooks/**/*.yml")]
    return {
        (owner, control)
        for owner, path in files
        for control in CONTROL.findall(re.sub(r"(?m)^\s*#.*", "", path.read_text(encoding="utf-8")))
    }


def test_every_probed_control_is_in_the_catalogue_and_the_other_way_round() -> None:
    assert probed() == {(control["role"], control["id"]) for control in controls()}


def test_the_catalogue_of_controls_is_well_formed() -> None:
    ids = [control["id"] for control in controls()]
    assert len(ids) == len(set(ids))
    for control in controls():
        assert set(control) == {"id", "title", "rows", "role", "probe"}, control
        assert CONTROL.fullmatch(control["id"]), control
        assert control["rows"], control
        for row in control["rows"]:
            assert re.fullmatch(r"R[0-9]+", row), control
            assert 1 <= int(row[1:]) <= 134, control


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_documents_its_contract(path: Path) -> None:
    texts = constants(path)
    documentation = yaml.safe_load(texts["DOCUMENTATION"])
    assert documentation["module"] == path.stem
    for attribute in ("check_mode", "diff_mode", "idempotent"):
        assert documentation["attributes"][attribute]["support"] in (
            "full",
            "partial",
            "none",
            "N/A",
        )
        if documentation["attributes"][attribute]["support"] == "partial":
            assert documentation["attributes"][attribute]["details"]
    assert documentation["attributes"]["check_mode"]["support"] == "full"
    assert f"homelab.airlock.{path.stem}" in str(yaml.safe_load(texts["EXAMPLES"]))
    assert yaml.safe_load(texts["RETURN"])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_exercised_by_an_integration_target(path: Path) -> None:
    target = ROOT / "tests" / "integration" / "targets" / path.stem
    assert f"homelab.airlock.{path.stem}:" in "".join(
        tasks.read_text(encoding="utf-8") for tasks in (target / "tasks").glob("*.yml")
    )


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_imports_the_standard_library_and_itself(path: Path) -> None:
    foreign = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            foreign += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            foreign.append(str(node.module))
    assert [name for name in foreign if name.split(".")[0] not in sys.stdlib_module_names] == []


def test_files_stay_short() -> None:
    limits = [
        ("plugins/modules/*.py", 300),
        ("plugins/**/*.py", 400),
        ("roles/**/*.py", 400),
        ("roles/**/*.yml", 400),
        ("roles/**/*.j2", 400),
    ]
    long = {
        str(path.relative_to(ROOT)): lines
        for pattern, limit in limits
        for path in ROOT.glob(pattern)
        if (lines := path.read_text(encoding="utf-8").count("\n")) > limit
    }
    assert long == {}


def test_the_version_is_the_newest_of_the_changelog() -> None:
    version = load(ROOT / "galaxy.yml")["version"]
    releases = load(ROOT / "changelogs" / "changelog.yaml")["releases"]
    assert version == max(releases, key=lambda text: [int(part) for part in text.split(".")])
    anchor = version.replace(".", "-")
    assert f'<a id="v{anchor}"></a>' in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_fragment_and_module_is_in_the_changelog() -> None:
    releases = load(ROOT / "changelogs" / "changelog.yaml")["releases"].values()
    told = {name for release in releases for name in release.get("fragments", [])}
    assert {path.name for path in (ROOT / "changelogs" / "fragments").glob("*.yml")} <= told
    listed = {module["name"] for release in releases for module in release.get("modules", [])}
    assert {path.stem for path in MODULES} <= listed
