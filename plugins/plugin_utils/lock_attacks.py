# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody would do to a lock, tried on a copy in memory for verify.yml."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..module_utils import lock_memory, state
from ..module_utils.errors import AirlockError
from . import signing
from .lock_files import Kept, LockFiles

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def attempt(
    files: LockFiles, lock: dict[str, Any], remembered: lock_memory.Place | None
) -> dict[str, Any]:
    """Return ``attacks``, each with ``probe``, ``holds`` (whether it was refused) and ``observed``, and ``itself``.

    ``itself`` is what was said when the lock itself was shown, None when it was refused.
    """
    key = files.key

    def take(lock: dict[str, Any], signed: dict[str, Any], by: Ed25519PrivateKey = key) -> None:
        signing.verify(lock, signed, by.public_key(), name=files.name, where=files.name)
        place = replace(files.place(lock), key=signing.key_id(by.public_key()))
        if objection := files.objection(Kept(lock, place), remembered):
            raise objection

    def signed(lock: dict[str, Any], by: Ed25519PrivateKey = key) -> dict[str, Any]:
        return signing.sign(lock, by, name=files.name)

    edited = {**lock, "state": {}, "state_digest": state.digest({})}
    older = {**lock, "serial": lock["serial"] - 1}
    foreign = {**lock, "lineage": str(uuid.uuid4())}
    other = signing.fresh()
    tries: dict[str, Callable[[], None]] = {
        "the lock with another state under its own signature": lambda: take(edited, signed(lock)),
        "the lock signed by another key": lambda: take(lock, signed(lock, other)),
        "the lock signed by another key that took the place of ours": lambda: take(
            lock, signed(lock, other), other
        ),
        "an older lock with a good signature": lambda: take(older, signed(older)),
        "a lock of another lineage with a good signature": lambda: take(foreign, signed(foreign)),
    }
    said = _said(lambda: take(lock, signed(lock)))
    return {
        "attacks": [
            {"probe": probe, "holds": bool(refusal), "observed": refusal or "accepted"}
            for probe, refusal in ((probe, _said(attack)) for probe, attack in tries.items())
        ],
        "itself": None if said else f"lock {lock['serial']} itself is accepted",
    }


def _said(attack: Callable[[], None]) -> str:
    try:
        attack()
    except AirlockError as exc:
        return str(exc)
    return ""
