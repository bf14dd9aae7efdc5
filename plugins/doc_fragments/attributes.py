# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module and action of the collection declares about itself.

    A module names this fragment and fills in ``support`` (and ``details`` where it is
    not ``full``) under ``attributes``; what each attribute means is written once, here.
    """

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description:
      - Can run in C(check_mode) and return the changed status that a real run would have, without changing the host.
  diff_mode:
    description:
      - Returns details on what has changed, or would change in C(check_mode), when in diff mode.
      - Secrets are never part of it.
  idempotent:
    description:
      - A second run with the same input on the same host changes nothing and says so.
  platform:
    description:
      - Operating systems of the hosts that it works on.
    platforms: debian
"""
