# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The static accounts of a host, one block of user ids (docs/architecture.md, "Accounts")."""

from __future__ import annotations

RELEASES = 16
"""Size of the pool of users that releases run as."""

FIRST_UID = 860
"""Where the block begins, unless ``baseline_uid_base`` says otherwise."""


def of_release(index: int) -> str:
    """Return the name of the user number ``index``, 0 to RELEASES - 1."""
    return f"airlock-r{index:02}"


NAMES = (*map(of_release, range(RELEASES)), "airlock-gatekeeper", "airlock-edge", "airlock-audit")
"""All of them, in the order of their ids."""
