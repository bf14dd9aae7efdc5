#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: egress_table
short_description: Make table inet airlock what its file defines
version_added: 0.1.0
description:
  - Compares table C(inet airlock) of the kernel with the file that defines it, and has its service load the file when
    they differ. No other table is touched.
  - The file is loaded into a network namespace of its own for the comparison, so that what counts is what nft makes of
    it, not how it is written. Counters and elements that expire do not count.
  - In check mode it tells whether the rules have drifted.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  path:
    description: File that defines the table. Required with O(state=loaded).
    type: path
  unit:
    description: Service that loads the file. Required with O(state=loaded).
    type: str
  state:
    description: V(absent) removes the table.
    type: str
    choices: [loaded, absent]
    default: loaded
"""

EXAMPLES = r"""
- name: Load the rules if they are not loaded as written
  homelab.airlock.egress_table:
    path: /etc/airlock/egress.nft
    unit: airlock-egress.service

- name: See whether somebody changed the loaded rules
  homelab.airlock.egress_table:
    path: /etc/airlock/egress.nft
    unit: airlock-egress.service
  check_mode: true
  register: drift
"""

RETURN = r"""
reasons:
  description: Why the table had to be loaded or removed, one sentence each.
  returned: always
  type: list
  elements: str
before:
  description: SHA-256 of the table as the kernel had it, without counters, or null.
  returned: always
  type: str
after:
  description: SHA-256 of the table as the file defines it, or null where that cannot be known yet.
  returned: always
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import commands, nft_table
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "unit": {"type": "str"},
            "state": {"type": "str", "choices": ["loaded", "absent"], "default": "loaded"},
        },
        required_if=[("state", "loaded", ["path", "unit"])],
        supports_check_mode=True,
    )

    act = _remove if module.params["state"] == "absent" else _load
    try:
        result = act(module, commands.runner(module))
    except AirlockError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=bool(result["reasons"]), **result)


def _load(module: AnsibleModule, run: commands.Run) -> dict[str, object]:
    path = module.params["path"]
    if module.check_mode and not (nft_table.installed(run) and os.path.exists(path)):
        return {"reasons": ["The rules would be loaded."], "before": None, "after": None}
    before = nft_table.loaded(run)
    wanted = nft_table.defined(run, path)
    digests = {"before": nft_table.digest(before), "after": nft_table.digest(wanted)}
    if before == wanted:
        return {"reasons": [], **digests}
    reason = (
        "The table was not loaded."
        if before is None
        else f"The loaded table was not that of {path}."
    )
    diff = {
        "before_header": "loaded",
        "before": nft_table.text_loaded(run),
        "after_header": path,
        "after": nft_table.text_defined(run, path),
    }
    if not module.check_mode:
        _reload(module.params["unit"], run, wanted)
    return {"reasons": [reason], "diff": diff, **digests}


def _reload(unit: str, run: commands.Run, wanted: object) -> None:
    status, output = run(["systemctl", "reload-or-restart", unit])
    if status != 0 or nft_table.loaded(run) != wanted:
        raise AirlockError.refuse(
            "the service did not load the rules",
            found=output.strip() or "another table than the file defines",
            where=unit,
            fix=f"see 'journalctl -u {unit}'",
        )


def _remove(module: AnsibleModule, run: commands.Run) -> dict[str, object]:
    before = nft_table.loaded(run)
    if before is None:
        return {"reasons": [], "before": None, "after": None}
    diff = {"before": nft_table.text_loaded(run), "after": ""}
    if not module.check_mode:
        status, output = run(["nft", "delete", "table", *nft_table.TABLE])
        if status != 0:
            raise AirlockError.refuse("nft could not remove the table", found=output.strip())
    return {
        "reasons": ["The table was removed."],
        "before": nft_table.digest(before),
        "after": None,
        "diff": diff,
    }


if __name__ == "__main__":
    main()
