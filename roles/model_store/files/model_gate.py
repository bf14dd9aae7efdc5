# SPDX-License-Identifier: GPL-3.0-or-later
"""The load gate: lets a runtime start only with the very bytes that its manifest names.

Runs before every start, as the user of the release and behind its mounts, so that it reads what the
runtime will read. Exit status: 0 to go on, 1 for a refusal, said in one sentence on standard error.
"""

from __future__ import annotations

import argparse
import sys

sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")

from airlock import manifests
from airlock.errors import AirlockError
from airlock.files import read_limited
from airlock.releases_program import refuse

_MANIFEST_LIMIT = 16 * 1024 * 1024


def check(manifest_path: str, path: str) -> None:
    """Hold the one file of the manifest against ``path``. Raises AirlockError and OSError."""
    manifest = manifests.parse(read_limited(manifest_path, _MANIFEST_LIMIT), manifest_path)
    if len(manifest.files) != 1:
        raise AirlockError.refuse(
            "the manifest is not of one file",
            found=f"{len(manifest.files)} files",
            where=manifest_path,
        )
    # The pages stay cached: the runtime loads the file next.
    finding = manifests.compare(path, manifest.files[0].content, keep_cache=True)
    if finding.state != "ok":
        raise AirlockError.refuse(
            f"the file of model {manifest.name} is not the approved one",
            expected=finding.expected,
            found=finding.found,
            where=path,
            fix=f"its place in the store is {manifest.files[0].stored}; run the playbook 'site' to bring it anew",
        )


def main() -> int:
    """Check what the command line names and return the exit status."""
    parser = argparse.ArgumentParser(description="Refuse a model that is not the approved one.")
    parser.add_argument("--manifest", required=True, help="manifest of the release, JSON")
    parser.add_argument("--path", required=True, help="model file as the runtime will see it")
    options = parser.parse_args()
    try:
        check(options.manifest, options.path)
    except AirlockError as exc:
        return refuse(str(exc))
    except OSError as exc:
        return refuse(f"{options.path}: the model cannot be checked: {exc}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
