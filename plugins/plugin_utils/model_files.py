# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``models.yml`` and ``models.lock.json`` of a site: what was asked for, and what it was resolved to.

The lock is signed by the site, and used by nobody before its signature was verified.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.homelab.airlock.plugins.module_utils import (
    ledger,
    models_intent,
    models_lock,
)
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.files import (
    alone,
    read_limited,
    write_atomic,
)
from ansible_collections.homelab.airlock.plugins.module_utils.models_intent import Intent
from ansible_collections.homelab.airlock.plugins.plugin_utils import signing
from ansible_collections.homelab.airlock.plugins.plugin_utils.witness import record

_MAX_INTENT = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """YAML without a key that appears twice, of which the first would be lost without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _value in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(
                    f"the key {key!r} appears twice in line {node.start_mark.line}"
                )
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


class ModelFiles:
    """The two files of the site directory ``site_dir``; ``passphrase`` is that of the key in its ``state/``."""

    def __init__(self, site_dir: str, passphrase: str = "") -> None:
        self.intent = Path(site_dir) / "models.yml"
        self.lock = Path(site_dir) / "models.lock.json"
        self._state = Path(site_dir) / "state"
        self._passphrase = passphrase

    def wanted(self, today: datetime.date) -> dict[str, Intent]:
        """Return what ``models.yml`` asks for, nothing when there is none. Raises AirlockError."""
        where = str(self.intent)
        try:
            document = yaml.load(read_limited(where, _MAX_INTENT), Loader=_Loader)  # noqa: S506
        except FileNotFoundError:
            return {}
        except (OSError, yaml.YAMLError, ValueError, RecursionError) as exc:
            reason = " ".join(str(exc).split())
            raise AirlockError.refuse(f"this cannot be read ({reason})", where=where) from exc
        if document is None:  # nothing but comments
            return {}
        if not isinstance(document, Mapping):
            raise AirlockError.refuse(
                "this is not a mapping of model names to entries", where=where
            )
        return {
            str(name): models_intent.parse(entry, str(name), f"{where}: {name}", today)
            for name, entry in document.items()
        }

    def locked(self) -> dict[str, dict[str, Any]]:
        """Return what was locked, by name, nothing when there is no lock.

        Raises AirlockError, also when it is not as this site signed it, OSError.
        """
        where = str(self.lock)
        try:
            data = read_limited(where, models_lock.MAX_LOCK)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise AirlockError.refuse(f"this cannot be read ({exc})", where=where) from exc
        models, envelope = models_lock.parse(data, where)
        if envelope is None:
            raise AirlockError.refuse(
                "the lock of the models has no signature",
                expected="one by the signing key of this site",
                where=where,
                fix="restore the file from a backup, or remove it and pull its models anew",
            )
        key = signing.load(self._state, self._passphrase).public_key()
        document = models_lock.document(models)
        signing.verify(document, envelope, key, name=self.lock.name, where=where)
        return models

    def keep(self, name: str, entry: Mapping[str, Any], wanted: Mapping[str, Intent]) -> None:
        """Lock one model, sign the lock, and drop what ``models.yml`` no longer has.

        The ledger knows of it first. Raises AirlockError, OSError.
        """
        self.locked()  # a lock whose key is gone is refused before there is another key
        key = signing.load_or_make(self._state, self._passphrase)  # takes the same turn for itself
        with alone(str(self.lock.parent)):
            models = {**self.locked(), name: dict(entry)}
            kept = {known: models[known] for known in models if known in wanted}
            files = {file["path"]: file["sha256"] for file in entry["files"]}
            result = {"origin": entry["origin"], "revision": entry["revision"], "files": files}
            record(self._state, [ledger.Event("pulled", name, result)])
            envelope = signing.sign(models_lock.document(kept), key, name=self.lock.name)
            write_atomic(str(self.lock), models_lock.dumps(kept, envelope))


def catalog(inline: Mapping[str, Any], site_dir: str, passphrase: str = "") -> dict[str, Any]:
    """Return the catalog of a site: ``airlock_models`` and what ``models.yml`` was locked to.

    Raises AirlockError.
    """
    files = ModelFiles(site_dir, passphrase)
    wanted = files.wanted(datetime.date.today())
    return models_lock.catalog(inline, wanted, files.locked() if wanted else {})
