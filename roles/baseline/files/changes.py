# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host does by itself about a change that can cut its owner off.

``apply CHANGE`` runs its commands, ``revert CHANGE`` undoes it if nobody has confirmed it in time,
``revert --boot`` undoes everything that was pending when the power went.
"""

from __future__ import annotations

import argparse
import sys

sys.path.insert(0, "/usr/lib/airlock/airlock.pyz")

from airlock.changes import Changes
from airlock.commands import run_here
from airlock.errors import AirlockError

_RESTARTED = "the host was restarted before anybody confirmed it"


def act(options: argparse.Namespace) -> bool:
    """Do what the command line says; return whether all of it worked."""
    changes = Changes(run_here)
    if options.action == "apply":
        return changes.apply(options.change)
    if not options.boot:
        if changes.revert(options.change, "nobody confirmed it in time"):
            print(f"The change of {options.change} was undone.")
        return True
    done = True
    for change in changes.pending():
        try:
            if changes.revert(change, _RESTARTED, boot=True):
                print(f"The change of {change} was undone before the network comes up.")
        except (AirlockError, OSError) as exc:
            print(f"The change of {change} could not be undone: {exc}", file=sys.stderr)
            # That one tries again until it has worked.
            run_here(["systemctl", "start", "--no-block", f"airlock-revert@{change}.service"])
            done = False
    return done


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Apply or undo a change that must be confirmed.")
    parser.add_argument("action", choices=["apply", "revert"])
    parser.add_argument("change", nargs="?")
    parser.add_argument("--boot", action="store_true", help="everything that is pending")
    options = parser.parse_args()
    if (options.change is None) is not (options.action == "revert" and options.boot):
        parser.error("name one change, or --boot with revert")
    try:
        return 0 if act(options) else 1
    except (AirlockError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
