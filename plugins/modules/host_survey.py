#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_survey
short_description: Look at a machine as it is, before anything is changed
version_added: 0.1.0
description:
  - Finds who listens, who answers questions to a model without a key, containers around the firewall, models that are
    there already, accelerators and their driver, scheduled jobs that call a model, the firewall and the network.
  - It changes and installs nothing, asks only addresses of the machine itself, and needs nothing but Python.
  - Lines of scheduled jobs are never returned, for they may hold keys.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode: {support: N/A, details: It changes nothing.}
  idempotent: {support: full}
  platform: {support: full, platforms: debian}
author: homelab.airlock contributors (!UNKNOWN)
options:
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 1.0
"""

EXAMPLES = r"""
- name: Look at the machine
  homelab.airlock.host_survey:
  register: __survey_seen
"""

RETURN = r"""
survey:
  description: What was seen, by section; C(findings) says what it means in words, the most important first.
  returned: always
  type: dict
"""

import http.client
import ssl

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.homelab.airlock.plugins.module_utils import survey
from ansible_collections.homelab.airlock.plugins.module_utils.commands import runner
from ansible_collections.homelab.airlock.plugins.module_utils.survey_listeners import Answer

_MAX_BODY = 256 * 1024


def fetch(address: str, port: int, path: str, timeout: float) -> Answer | None:
    """Ask a port of this machine over HTTP, then over TLS; None when neither comes back."""
    plain = _request(http.client.HTTPConnection(address, port, timeout=timeout), path, tls=False)
    if plain is not None and not (plain.status == 400 and "HTTPS" in plain.body.upper()):
        return plain
    # Nothing is trusted and nothing is sent: only what the port says about itself is wanted.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    secure = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
    return _request(secure, path, tls=True) or plain


def _request(connection: http.client.HTTPConnection, path: str, *, tls: bool) -> Answer | None:
    try:
        connection.request("GET", path, headers={"User-Agent": "airlock-survey"})
        reply = connection.getresponse()
        body = reply.read(_MAX_BODY).decode("utf-8", "replace")
        return Answer(reply.status, reply.getheader("Server", ""), body, tls)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def main() -> None:
    module = AnsibleModule(
        argument_spec={"timeout": {"type": "float", "default": 1.0}},
        supports_check_mode=True,
    )

    timeout = module.params["timeout"]
    seen = survey.survey(
        runner(module), lambda address, port, path: fetch(address, port, path, timeout)
    )
    module.exit_json(changed=False, survey=survey.report(seen))


if __name__ == "__main__":
    main()
