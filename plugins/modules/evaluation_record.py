#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evaluation_record
short_description: Judge what a release answered, keep the record, and ask for it later
version_added: 0.1.0
description:
  - Keeps C(evidence/releases/<release>.json) in the site directory. A record is bound to the digest of the release and
    to the questions; a record of anything else counts as none.
  - Run it on the controller.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full, details: Answers are judged and not kept.}
  diff_mode: {support: none, details: A record has nothing to be compared with.}
  idempotent: {support: full}
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  site_dir:
    description: Site directory on the controller.
    type: path
    required: true
  suite:
    description: The questions, as in C(files/suite.json) of the role evaluation.
    type: dict
    required: true
  releases:
    description: Releases, as P(homelab.airlock.releases#filter) returns them; other keys of theirs are not looked at.
    type: list
    elements: dict
    required: true
  state:
    description:
      - V(found) returns how the releases stand, V(required) fails unless all of them are green, V(judged) judges
        O(answers) of the one release and keeps the record.
    type: str
    choices: [found, required, judged]
    default: found
  answers:
    description: Results of M(homelab.airlock.api_probe).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Refuse a release that was not evaluated
  homelab.airlock.evaluation_record:
    site_dir: "{{ airlock_site_dir }}"
    suite: "{{ suite }}"
    releases: ["{{ candidate }}"]
    state: required
  delegate_to: localhost
  become: false
"""

RETURN = r"""
releases:
  description: For each release its C(service), C(release), C(verdict) (V(green), V(red), V(stale) or V(none)), and
    C(sentence).
  returned: success
  type: list
  elements: dict
"""

import os
from dataclasses import asdict
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import evaluation_records as records
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.evaluation import Suite

_BOUND = ("service", "release", "digest", "mode")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "site_dir": {"type": "path", "required": True},
            "suite": {"type": "dict", "required": True},
            "releases": {"type": "list", "elements": "dict", "required": True},
            "state": {
                "type": "str",
                "choices": ["found", "required", "judged"],
                "default": "found",
            },
            "answers": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    state = module.params["state"]
    directory = os.path.join(module.params["site_dir"], "evidence", "releases")
    try:
        suite = Suite.parse(module.params["suite"], "suite")
        releases = [
            records.Release.of({key: entry.get(key) for key in _BOUND})
            for entry in module.params["releases"]
        ]
        if state == "judged":
            now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            if len(releases) != 1:
                module.fail_json(msg=f"expected 1 release to judge, found {len(releases)}.")
            judged = suite.judge(releases[0].mode, module.params["answers"])
            if not module.check_mode:
                records.write(directory, releases[0], suite, judged, now)
        found = [(release, records.read(directory, release, suite)) for release in releases]
    except (AirlockError, OSError) as exc:
        module.fail_json(msg=str(exc))
    missing = [each.sentence for _release, each in found if each.verdict != records.GREEN]
    if state == "required" and missing:
        module.fail_json(msg=" ".join(missing))
    module.exit_json(
        changed=state == "judged",
        releases=[
            {"service": release.service, "release": release.release, **asdict(each)}
            for release, each in found
        ],
    )


if __name__ == "__main__":
    main()
