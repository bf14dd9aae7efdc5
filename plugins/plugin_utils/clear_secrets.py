# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that stand in the clear among the variables of a house, where git and backups take them along.

Looked through is what Ansible reads beside an inventory: the files there, ``group_vars`` and ``host_vars``
(Ansible documentation, "How to build your inventory"). Passwords are not needed: a file that ansible-vault has
encrypted holds nothing but digits, and a value (``!vault``) is fine, as is one that a template fetches from elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import yaml

from ..module_utils import api_keys
from ..module_utils.errors import AirlockError
from ..module_utils.files import read_limited

_FOLDERS = ("group_vars", "host_vars")
_INVENTORIES = ("", ".ini", ".json", ".toml", ".yaml", ".yml")  # endings beside an inventory
_MAX_FILES = 2000  # and folders
_MAX_BYTES = 4 * 1024 * 1024  # of a file
_VAULTED = ("!vault", "!vault-encrypted")
_NULL = "tag:yaml.org,2002:null"
# RFC 7468 section 13 and what programs wrote before it; an encrypted one (section 11) is not in the clear.
_PRIVATE_KEY = re.compile(r"-----BEGIN (?!ENCRYPTED )[A-Z0-9 ]*PRIVATE KEY")


def findings(folders: Iterable[str], names: Collection[str]) -> list[str]:
    """Return a sentence for each secret in the variables of ``folders``, without its value.

    ``names`` are the variables that hold a passphrase. What cannot be looked through is a finding, too.
    """
    found: list[str] = []
    for top in sorted({Path(os.path.realpath(folder)) for folder in folders}):
        try:
            for path in _files(top):
                found += _in_file(path, names)
        except AirlockError as exc:
            found.append(str(exc))
        except OSError as exc:
            found.append(
                f"{exc.filename}: it cannot be looked through for secrets: {exc.strerror}; let yourself read it."
            )
    return found


def _files(top: Path) -> Iterator[Path]:
    """Yield what Ansible reads variables from; links that lead out of ``top`` are not followed."""
    waiting = [
        path
        for path in _entries(top)
        if (path.name in _FOLDERS if path.is_dir() else path.suffix in _INVENTORIES)
    ]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        real = os.path.realpath(path)
        if real in seen or not Path(real).is_relative_to(top):
            continue
        seen.add(real)
        if len(seen) > _MAX_FILES:
            raise AirlockError.refuse(
                "these are too many files to look through for secrets",
                expected=f"at most {_MAX_FILES} beside the inventory, in group_vars and in host_vars",
                where=str(top),
                fix="keep elsewhere what Ansible does not have to read",
            )
        if path.is_dir():
            waiting += _entries(path)
        elif path.is_file():
            yield path


def _entries(folder: Path) -> list[Path]:
    """Return what is in ``folder``, the first one last; Ansible reads nothing hidden either."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name[0] != "."), reverse=True)


def _in_file(path: Path, names: Collection[str]) -> Iterator[str]:
    if path.stat().st_size > _MAX_BYTES:
        raise AirlockError.refuse(
            "this is too large to look through for secrets",
            expected=f"at most {_MAX_BYTES} bytes",
            where=str(path),
            fix="keep it elsewhere, or write it as several files",
        )
    text = read_limited(str(path), _MAX_BYTES).decode(errors="replace")
    if text.lstrip().startswith("-----BEGIN "):
        return  # a file that is a key is not one of variables
    encrypt = f"encrypt the file with ansible-vault encrypt {path}"
    found = [
        (number, f"{name} is", f"{encrypt}, or the value with ansible-vault encrypt_string")
        for number, name in _passphrases(text, names)
    ]
    for number, line in enumerate(text.split("\n"), 1):
        if api_keys.KEY.search(line):
            fix = "take it out and rotate it, for the collection keeps keys itself, in secrets/keys"
            found.append((number, "an API key is", fix))
        if _PRIVATE_KEY.search(line):
            found.append(
                (number, "a private key is", f"{encrypt}, or keep the key in a file of its own")
            )
    for number, what, fix in sorted(found):
        yield f"{path}, line {number}: {what} in the clear here; {fix}."


def _passphrases(text: str, names: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield line and name of the variables of ``names`` that have a literal value, at whatever depth."""
    if not any(name in text for name in names):
        return
    try:
        # Not libyaml's, which overflows the stack where this one raises.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        root = None
    if isinstance(root, yaml.CollectionNode):
        yield from _in_yaml(root, names)
    else:
        yield from _in_lines(text, names)


def _in_yaml(root: yaml.Node, names: Collection[str]) -> Iterator[tuple[int, str]]:
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                waiting.append(value)
                if isinstance(key, yaml.ScalarNode) and key.value in names and _is_literal(value):
                    yield key.start_mark.line + 1, key.value


def _is_literal(node: yaml.Node) -> bool:
    if not isinstance(node, yaml.ScalarNode) or node.tag in (*_VAULTED, _NULL):
        return False
    return _is_said(node.value)


def _in_lines(text: str, names: Collection[str]) -> Iterator[tuple[int, str]]:
    """Do the same for what is no YAML, such as an inventory in INI: ``name=value``."""
    said = re.compile(
        rf"\b({'|'.join(map(re.escape, names))})[\"']?\s*[=:]\s*(\"[^\"]*\"|'[^']*'|\S+)"
    )
    for number, line in enumerate(text.split("\n"), 1):
        for match in said.finditer(line) if line.lstrip()[:1] not in ("#", ";") else ():
            if _is_said(match[2].strip("\"'")):
                yield number, match[1]


def _is_said(value: str) -> bool:
    return bool(value.strip()) and "{{" not in value
