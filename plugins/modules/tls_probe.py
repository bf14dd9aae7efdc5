#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_probe
short_description: Try handshakes that a TLS server must take or refuse
version_added: 0.1.0
description:
  - Makes one connection for each attempt, with exactly the version, authority and client certificate that it names,
    asks for C(/health), and says who ended it and how.
  - What this machine cannot try itself, because its OpenSSL no longer speaks such a version, is C(untried), which meets
    no expectation.
  - Changes nothing.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none, details: There is nothing to compare.}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  address: {description: Name or IP address of the server., type: str, required: true}
  port: {description: TCP port of the server., type: int, required: true}
  server_name: {description: "Name to ask for and to check; empty for O(address).", type: str, default: ""}
  ca:
    description: Authorities that attempts trust which name no other, PEM text; without it those of the system.
    type: str
    default: ""
  certificate:
    description: Client certificate of the attempts that name no other, PEM text with its chain and its key.
    type: str
    default: ""
  certificates:
    description:
      - Client certificates of the other attempts by name, in the same form. They stand here because Ansible writes what
        modules are called with to the journal, and keeps a secret of several lines out of it only where it is no part
        of a list.
    type: dict
    default: {}
  attempts:
    description: What to try.
    type: list
    elements: dict
    required: true
    suboptions:
      id: {description: "What the attempt is, in a few words.", type: str, required: true}
      control: {description: Control that it belongs to; without it there is no record., type: str, default: ""}
      version:
        description: The only version of TLS to offer; empty for any that is in use.
        type: str
        choices: ["", "1.0", "1.1", "1.2", "1.3"]
        default: ""
      server_name: {description: Name to ask for and to check., type: str}
      ca: {description: "Authorities to trust, PEM text; empty for those of the system.", type: str}
      certificate: {description: "Name of one of O(certificates), empty for none.", type: str}
      plain: {description: Send HTTP without TLS., type: bool, default: false}
      expect:
        description: V(answered) and V(refused) are the server's word, V(distrusted) that of this client.
        type: str
        choices: [answered, refused, distrusted]
        required: true
  timeout:
    description: Seconds for each step of an attempt.
    type: float
    default: 10.0
  vantage:
    description: Where the host that runs this stands, for the records.
    type: str
    choices: [self, external]
    default: external
"""

EXAMPLES = r"""
- name: Shake hands in every way but the right one
  homelab.airlock.tls_probe:
    address: 192.168.30.10
    port: 8443
    ca: "{{ lookup('ansible.builtin.file', 'pki/ca.pem') }}"
    attempts:
      - {id: the right one, expect: answered}
      - {id: TLS 1.1, control: GW-05, version: "1.1", expect: refused}
      - {id: no TLS, control: GW-05, plain: true, expect: refused}
      - {id: a stranger, control: TLS-01, certificate: stranger, expect: refused}
    certificates:
      stranger: "{{ lookup('ansible.builtin.file', 'stranger.pem') }}"
  register: shaken
"""

RETURN = r"""
results:
  description: For each attempt its C(id), C(outcome) (C(answered), C(refused), C(distrusted), C(unreached) or
    C(untried)), C(detail), C(version), C(cipher), C(ms) and C(holds).
  returned: success
  type: list
  elements: dict
records:
  description: Evidence records of the attempts that name a control, as M(homelab.airlock.evidence) takes them. The
    positive control of a refusal is an attempt at the same address that was answered in the same execution.
  returned: success
  type: list
  elements: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import tls_probe
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.probe_report import report

# What an attempt inherits when it says nothing of its own.
_INHERITED = ("ca", "certificate", "server_name")


def _argument_spec() -> dict[str, t.Any]:
    text = {"type": "str", "default": ""}
    return {
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "server_name": text,
        "ca": text,
        "certificate": {**text, "no_log": True},
        "certificates": {"type": "dict", "default": {}, "no_log": True},
        "attempts": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "id": {"type": "str", "required": True},
                "control": text,
                "version": {**text, "choices": ["", *tls_probe.VERSIONS]},
                "server_name": {"type": "str"},
                "ca": {"type": "str"},
                "certificate": {"type": "str"},
                "plain": {"type": "bool", "default": False},
                "expect": {
                    "type": "str",
                    "choices": list(tls_probe.EXPECTATIONS),
                    "required": True,
                },
            },
        },
        "timeout": {"type": "float", "default": 10.0},
        "vantage": {"type": "str", "choices": ["self", "external"], "default": "external"},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=_argument_spec(), supports_check_mode=True)
    wanted = module.params
    controls = [entry.pop("control") for entry in wanted["attempts"]]
    shown = {**wanted["certificates"], "": ""}
    for entry in wanted["attempts"]:
        name = entry["certificate"]
        if name is not None:
            if name not in shown:
                known = ", ".join(sorted(wanted["certificates"])) or "no name at all"
                module.fail_json(
                    msg=f"attempts: {entry['id']}: expected a certificate among {known}, found {name}."
                )
            entry["certificate"] = shown[name]
        entry.update({name: wanted[name] for name in _INHERITED if entry[name] is None})
    attempts = [
        tls_probe.Attempt(address=wanted["address"], port=wanted["port"], **entry)
        for entry in wanted["attempts"]
    ]
    try:
        ended = [(attempt, tls_probe.perform(attempt, wanted["timeout"])) for attempt in attempts]
    except AirlockError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        **report(
            ended,
            controls,
            wanted["vantage"],
            tls_probe.holds,
            lambda attempt, outcome: tls_probe.record(attempt, outcome, ended),
        )
    )


if __name__ == "__main__":
    main()
