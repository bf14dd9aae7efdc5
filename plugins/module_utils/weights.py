# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a model that llama.cpp opens, and the names under which the unit of a release sees them.

A GGUF is one file or parts ``NAME-00001-of-00003.gguf`` side by side (llama.cpp, tools/gguf-split): the
runtime is given the first one and opens the others by their names. Side files are for people and other tools;
no unit sees them.
"""

from __future__ import annotations

from .errors import AirlockError
from .formats import PART
from .manifests import Manifest, ModelFile

VIEW = "/run/airlock/model"
"""The directory in which a release sees the weights of its model, and nothing else."""

_ENDING = ".gguf"


def of(manifest: Manifest, where: str) -> list[ModelFile]:
    """Return the weights of a model in the order of its parts; ``where`` is who wants to load it.

    Raises AirlockError for a model without GGUF, of which parts are missing, or of more than one GGUF.
    """
    found = {file.path: file for file in manifest.files if file.path.endswith(_ENDING)}
    if not found:
        raise AirlockError.refuse(
            f"llama.cpp cannot load the model {manifest.name}",
            expected="GGUF, a file that ends in .gguf",
            found=", ".join(file.path for file in manifest.files[:3]),
            where=where,
            fix="name a model in GGUF; one of another format can be held ready in model_store_keep",
        )
    paths = sorted(found)
    part = PART.fullmatch(paths[0])
    wanted = [paths[0]]
    if part:
        wanted = [
            f"{part[1]}-{number:05d}-of-{part[3]}.gguf" for number in range(1, int(part[3]) + 1)
        ]
    odd = sorted(set(wanted) ^ set(paths))
    if odd:
        raise AirlockError.refuse(
            f"the model {manifest.name} is not one GGUF",
            expected="one file, or all parts of it",
            found=f"{odd[0]} {'besides' if odd[0] in found else 'missing'}",
            where=where,
            fix="list every part of one model in the catalog, and no other weights",
        )
    return [found[path] for path in wanted]


def seen(count: int) -> list[str]:
    """Return the names of ``count`` files in ``VIEW``, in order.

    They are the same for every model, so that no name of a publisher gets into a unit.
    """
    return [f"model-{number:05d}-of-{count:05d}{_ENDING}" for number in range(1, count + 1)]
