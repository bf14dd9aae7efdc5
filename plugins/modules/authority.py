#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authority
short_description: Run the certificate authority of the house
version_added: 0.1.0
description:
  - Runs on the controller, without a connection. Keeps below C(pki/) of the site directory a root whose key is
    encrypted, an issuing authority that can speak for O(names) and O(addresses) alone (critical name constraints), a
    list of what was issued, and the revocation lists.
  - Everything is ECDSA on P-256, and is renewed after half of its life. A root that is away, or near its end, is a
    warning for as long as nothing has to wait for it.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode: {support: full}
  diff_mode:
    support: none
    details: What it writes is secret or not for reading; C(reasons) says what changed.
  idempotent:
    support: partial
    details: Until something is due; O(request), O(rotate) and O(revoke) are orders.
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  site_dir: {description: The site directory on the controller., type: path, required: true}
  state:
    description:
      - V(kept) makes and renews authority, revocation lists and client certificates.
      - V(certified) says whether O(host) needs a certificate, or signs its O(request).
      - V(revoked) takes back every certificate of O(revoke), and can be repeated when that was interrupted.
      - V(provided) only checks O(certificate) and O(key).
      - V(attacked) only tries what the authority must not do, and returns what clients may show for half an hour.
    type: str
    choices: [kept, revoked, certified, provided, attacked]
    default: kept
  passphrase:
    description: What encrypts the key of the root; empty makes one and keeps it in C(secrets/root.passphrase).
    type: str
    default: ""
  names:
    description: DNS names, of the house with O(state=kept), else of O(host).
    type: list
    elements: str
    default: []
  addresses: {description: IP addresses of the same., type: list, elements: str, default: []}
  days: {description: Days that the certificate of a host and a revocation list live., type: int, default: 90}
  clients:
    description:
      - Clients by name, each C({}), or with C(csr), the path of a request below the site directory. Files for them are
        in C(secrets/clients/). Who is no longer named is revoked; who is revoked gets no other until O(rotate) asks.
    type: dict
    default: {}
  client_days: {description: Days that the certificate of a client lives., type: int, default: 90}
  rotate: {description: Client that gets another certificate in any case., type: str, default: ""}
  host: {description: Host as the inventory names it., type: str, default: ""}
  public_key: {description: "Key that the host has, PEM; empty for none.", type: str, default: ""}
  request: {description: "Request of the host, PEM.", type: str, default: ""}
  revoke:
    description:
      - Host, client or visitor whose certificates are taken back.
      - With O(state=attacked), the client for which there is a C(witness) among RV(visitors), a certificate that is
        taken back with those of the client.
    type: str
    default: ""
  placed:
    description:
      - Revocation lists that hosts have now, by host, PEM in Base64 as M(ansible.builtin.slurp) returns it; empty where
        a host has none. What is on one that this authority signed stays revoked, whatever is known here, and the next
        list is newer. Any other one is a warning. With O(state=kept) and O(state=revoked).
    type: dict
    default: {}
  certificate: {description: "Path of the owner's certificate, its chain after it, PEM.", type: path}
  key: {description: "Path of its key, PEM.", type: path}
  authority:
    description: Path of the authorities that clients trust it by, PEM; empty for those that every system knows.
    type: path
    default: ""
notes:
  - Implemented as an action plugin.
"""

EXAMPLES = r"""
- name: Keep the authority and its clients
  homelab.airlock.authority:
    site_dir: "{{ inventory_dir }}"
    names: [ai.home.arpa]
    addresses: [192.168.30.10]
    clients: {alice: {}, agent: {csr: requests/agent.csr}}
"""

RETURN = r"""
reasons:
  description: Why something changed, one sentence each.
  returned: but with O(state=provided)
  type: list
  elements: str
clients:
  description:
    - For each client its C(id), C(state) (C(good) or C(revoked)), C(file), C(until) and C(sha256), and C(before), the
      day until which the one before it is good, empty without one.
  returned: with O(state=kept)
  type: list
  elements: dict
due:
  description: Why the host needs a certificate.
  returned: with O(state=certified)
  type: list
  elements: str
certificate:
  description: The certificate that was signed and its chain, PEM.
  returned: with O(request)
  type: str
kinds:
  description: What was revoked, of C(host), C(client) and C(probe).
  returned: with O(state=revoked)
  type: list
  elements: str
chain:
  description: The certificates of O(certificate), PEM, and nothing else that may stand there.
  returned: with O(state=provided)
  type: str
until:
  description: When the owner's certificate ends.
  returned: with O(state=provided)
  type: str
attacks:
  description: What was tried of C(signing) and of C(scope), lists of C(probe), C(holds), C(observed) and
    C(positive_control).
  returned: with O(state=attacked)
  type: dict
visitors:
  description: Certificates with keys, C(valid), C(expired), C(revoked), C(server), C(stranger) and C(witness), as PEM.
  returned: with O(state=attacked)
  type: dict
"""
