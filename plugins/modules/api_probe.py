#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_probe
short_description: Ask a front door what it must answer and what it must refuse
version_added: 0.1.0
description:
  - Sends a list of HTTP requests, one after the other, each once and exactly as given, and reports at which layer each
    was turned away. Nothing is followed, retried or normalised.
  - Changes nothing.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none, details: There is nothing to compare.}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  url: {description: "Scheme, host and port of the requests that name no other.", type: str, required: true}
  connect_to:
    description: Name or address to connect to, of the requests that name no other; empty for that of the URL. What is
      asked for and checked is what the URL says.
    type: str
    default: ""
  key: {description: API key of the requests that name no other., type: str, default: ""}
  ca:
    description: Authorities that requests trust which name no other, PEM text; without it those of the system.
    type: str
    default: ""
  certificate:
    description: Client certificate of all requests, PEM text with its chain and its key.
    type: str
    default: ""
  requests:
    description: Requests; each has exactly one of C(expect_status) and C(expect_error).
    type: list
    elements: dict
    required: true
    suboptions:
      id: {description: "What the request is, in a few words.", type: str, required: true}
      control: {description: Control that it belongs to; without it there is no record., type: str, default: ""}
      url: {description: "Scheme, host and port.", type: str}
      connect_to: {description: Name or address to connect to; empty for that of the URL., type: str}
      path: {description: Path as it is sent., type: str, default: /}
      method: {description: HTTP method., type: str, default: GET}
      headers: {description: Further headers., type: dict, default: {}}
      body: {description: Body; text is sent as it is and anything else as JSON., type: raw}
      key: {description: API key; empty for none., type: str}
      ca: {description: "Authorities to trust, PEM text; empty for those of the system.", type: str}
      tls_min: {description: Lowest version of TLS to offer., type: str, choices: ["", "1.2", "1.3"], default: ""}
      tls_max: {description: Highest version of TLS to offer., type: str, choices: ["", "1.2", "1.3"], default: ""}
      stream: {description: Read server-sent events to their end., type: bool, default: false}
      expect_status: {description: Status that must come back., type: int}
      expect_error:
        description:
          - Layer that must refuse. V(connect) is no connection, V(tls) no TLS session, V(plain) no HTTP answer.
        type: str
        choices: [connect, tls, plain]
      expect_code: {description: Reason that a refusal in OpenAI's form must name., type: str, default: ""}
      says: {description: "Text that the model must say, in an answer of that form.", type: str, default: ""}
      hides: {description: Text that must not be in it., type: str, default: ""}
      beside:
        description: The C(id) of the request that has to be answered for a refusal or C(hides) to prove something;
          without it any to the same address.
        type: str
        default: ""
  timeout:
    description: Seconds to wait for a connection and for every read.
    type: float
    default: 60.0
  vantage:
    description: Where the host that runs this stands, for the records.
    type: str
    choices: [self, external]
    default: external
"""

EXAMPLES = r"""
- name: Knock at the front door
  homelab.airlock.api_probe:
    url: https://ai.home.arpa:8443
    ca: "{{ lookup('ansible.builtin.file', 'pki/ca.pem') }}"
    key: "{{ lookup('ansible.builtin.file', 'secrets/keys/alice.key') }}"
    requests:
      - {id: with a key, path: /v1/models, expect_status: 200}
      - {id: without a key, control: GW-02, path: /v1/models, key: "", expect_status: 401}
      - {id: without TLS, control: GW-05, url: "http://ai.home.arpa:8443", key: "", expect_error: plain}
  register: knocked
"""

RETURN = r"""
results:
  description: For each request its C(id), C(status), C(error), C(detail), C(headers), C(body) (at most 2,000
    characters), C(code), C(said), C(ms), C(ttft_ms), C(events) and C(holds).
  returned: success
  type: list
  elements: dict
records:
  description: Evidence records of the requests that name a control, as M(homelab.airlock.evidence) takes them. The
    positive control of a refusal is a request to the same address that was answered in the same execution, with
    C(beside) that one.
  returned: success
  type: list
  elements: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import http_probe
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.probe_report import report

_VERSIONS = ["", "1.2", "1.3"]


# What a request inherits when it says nothing of its own.
_INHERITED = ("url", "connect_to", "key", "ca")


def _argument_spec() -> dict[str, t.Any]:
    return {
        "url": {"type": "str", "required": True},
        "connect_to": {"type": "str", "default": ""},
        "key": {"type": "str", "default": "", "no_log": True},
        "ca": {"type": "str", "default": ""},
        "certificate": {"type": "str", "default": "", "no_log": True},
        "requests": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "id": {"type": "str", "required": True},
                "control": {"type": "str", "default": ""},
                "url": {"type": "str"},
                "connect_to": {"type": "str"},
                "path": {"type": "str", "default": "/"},
                "method": {"type": "str", "default": "GET"},
                "headers": {"type": "dict", "default": {}},
                "body": {"type": "raw"},
                "key": {"type": "str", "no_log": True},
                "ca": {"type": "str"},
                "tls_min": {"type": "str", "choices": _VERSIONS, "default": ""},
                "tls_max": {"type": "str", "choices": _VERSIONS, "default": ""},
                "stream": {"type": "bool", "default": False},
                "expect_status": {"type": "int"},
                "expect_error": {"type": "str", "choices": list(http_probe.ERRORS)},
                "expect_code": {"type": "str", "default": ""},
                "says": {"type": "str", "default": ""},
                "hides": {"type": "str", "default": ""},
                "beside": {"type": "str", "default": ""},
            },
            "mutually_exclusive": [("expect_status", "expect_error")],
            "required_one_of": [("expect_status", "expect_error")],
        },
        "timeout": {"type": "float", "default": 60.0},
        "vantage": {"type": "str", "choices": ["self", "external"], "default": "external"},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=_argument_spec(), supports_check_mode=True)
    controls = [entry.pop("control") for entry in module.params["requests"]]
    for entry in module.params["requests"]:
        entry.update({name: module.params[name] for name in _INHERITED if entry[name] is None})
    shown = module.params["certificate"]
    requests = [
        http_probe.Request(**entry, certificate=shown) for entry in module.params["requests"]
    ]
    try:
        answers = [
            (request, http_probe.perform(request, module.params["timeout"])) for request in requests
        ]
    except AirlockError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        **report(
            answers,
            controls,
            module.params["vantage"],
            http_probe.holds,
            lambda request, answer: {
                **http_probe.describe(request, answer),
                "positive_control": http_probe.positive_control(request, answers),
            },
        )
    )


if __name__ == "__main__":
    main()
