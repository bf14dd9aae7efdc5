# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves every model on this host by SHA-256 and structure, asking no receipt, and writes down how it ended.

A model that is not the approved one loses its receipts, so that no release starts with it again. What runs is
left alone: it has the file that was admitted.
"""

from __future__ import annotations

import glob
import os
import sys
import time

sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")

from airlock import canonical, custody, manifests
from airlock.errors import AirlockError
from airlock.files import read_limited, write_atomic
from airlock.receipts import DIRECTORY, Book, Moment

RELEASES = "/etc/airlock/releases/*.manifest.json"
REPORT = os.path.join(DIRECTORY, "check.json")
_MANIFEST_LIMIT = 16 * 1024 * 1024


def wanted(flaws: list[str]) -> dict[tuple[str, str], custody.Subject]:
    """Return the files of all models and releases, by path and digest of the manifest.

    A manifest that cannot be read is one of the ``flaws``.
    """
    found = {}
    for path in sorted(glob.glob(f"{manifests.MANIFESTS}/*.json") + glob.glob(RELEASES)):
        try:
            manifest = manifests.parse(read_limited(path, _MANIFEST_LIMIT), path)
        except (AirlockError, OSError) as exc:
            flaws.append(str(exc))
            continue
        for subject in custody.subjects(manifest):
            found[subject.path, subject.manifest] = subject
    return found


def check() -> list[str]:
    """Check every file; return a sentence for each that is not the approved one."""
    book, moment = Book(), Moment.now()
    flaws: list[str] = []
    subjects = wanted(flaws)
    book.keep_only(set(subjects))
    findings = custody.prove_all(subjects.values(), book, moment, least=custody.FULL)
    return flaws + [
        finding.sentence(finding.path)
        for finding in findings.values()
        if finding.state != custody.OK
    ]


def main() -> int:
    """Check, report, and return the exit status."""
    try:
        reason = " ".join(check())
    except (AirlockError, OSError) as exc:
        reason = str(exc)
    report = {"when": int(time.time()), "holds": not reason, "reason": reason}
    write_atomic(REPORT, canonical.dumps(report) + b"\n", mode=0o600)
    if reason:
        print(f"<3>{reason} Run the playbook 'site' to bring it anew.", file=sys.stderr)
        return 1
    print("Every model is the approved one.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
