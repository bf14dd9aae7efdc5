# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes eight records as the writer of the trail does: write.py PLUGINS PLACE."""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from module_utils import audit_chain, audit_key

place = Path(sys.argv[2])
descriptor = os.open(place / "key", os.O_RDWR)
held = audit_key.load(descriptor)
chain = audit_chain.Chain(held.seq, held.key)
with open(place / "trail/audit.jsonl", "wb") as handle:
    for number in range(8):
        record = {"kind": "done", "id": str(number), "key": "alice", "status": 200}
        record |= {"model": "small", "verdicts": ["uncertain:number-without-source"]}
        handle.write(chain.extend(record, "2026-11-21T10:00:00.000Z") + b"\n")
audit_key.save(descriptor, audit_key.Held(held.trail, chain.seq, chain.key))
