# SPDX-License-Identifier: GPL-3.0-or-later
"""The load gate: lets a runtime start only with the very bytes that its manifest names.

``admit`` runs as root before every start, ``seen`` as the user of the release behind its mounts, ``mapped``
as root when the runtime says that it serves; only then the directory of its socket is opened to the gatekeeper.
Exit status: 0 to go on, 1 for a refusal, said in one sentence on standard error.
"""

from __future__ import annotations

import argparse
import os
import sys

sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")

from airlock import gate
from airlock.errors import AirlockError
from airlock.receipts import DIRECTORY, Book, Moment
from airlock.releases_program import refuse
from airlock.weights import VIEW

_LEVELS = ("its receipt", "fs-verity", "every byte", "SHA-256 and structure")


def admit(options: argparse.Namespace) -> None:
    """Prove the files in the store; say on standard output by what, and why a receipt was not enough."""
    subjects = gate.subjects_of(options.manifest, options.manifest_sha256, options.path)
    files = gate.Files.of(options.release, options.directory) if options.release else None
    for finding in gate.admit(subjects, Book(options.receipts), Moment.now(), files):
        reason = f", because {finding.stale}" if finding.stale else ""
        print(f"{finding.path}: proven by {_LEVELS[finding.level]}{reason}.")


def seen(options: argparse.Namespace) -> None:
    """Compare what this process sees with what was admitted."""
    gate.seen(options.view, gate.Files.of(options.release, options.directory))


def mapped(options: argparse.Namespace) -> None:
    """Compare what the runtime mapped with what was admitted, then open the door."""
    gate.mapped(options.pid, options.view, gate.Files.of(options.release, options.directory))
    os.chmod(options.door, 0o750, follow_symlinks=False)


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Refuse a model that is not the approved one.")
    parser.add_argument(
        "--directory", default=gate.DIRECTORY, help="where tickets and refusals lie"
    )
    looks = parser.add_subparsers(required=True)

    look = looks.add_parser("admit", help="before the start, as root")
    look.set_defaults(look=admit)
    look.add_argument("--release", help="whose ticket to leave; without it none is left")
    look.add_argument("--manifest", required=True, help="manifest of the release, JSON")
    look.add_argument("--manifest-sha256", required=True, help="digest that it must have")
    look.add_argument("--path", required=True, nargs="+", help="the files that the unit is given")
    look.add_argument("--receipts", default=DIRECTORY, help="directory of the receipts")

    look = looks.add_parser("seen", help="before the start, in the sandbox of the unit")
    look.set_defaults(look=seen)
    look.add_argument("--release", required=True)
    look.add_argument("--view", default=VIEW, help="directory in which the unit sees them")

    look = looks.add_parser("mapped", help="after the start, as root")
    look.set_defaults(look=mapped)
    look.add_argument("--release", required=True)
    look.add_argument("--view", default=VIEW, help="directory in which the unit sees them")
    look.add_argument("--pid", type=int, required=True, help="main process of the unit")
    look.add_argument("--door", required=True, help="directory of the socket, opened to its group")
    return parser


def main() -> int:
    """Look as the command line says and return the exit status."""
    options = arguments().parse_args()
    try:
        options.look(options)
    except AirlockError as exc:
        return refuse(str(exc))
    except OSError as exc:
        return refuse(f"The model cannot be checked: {exc}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
