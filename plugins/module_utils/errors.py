# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception family of the library."""

from __future__ import annotations


class AirlockError(Exception):
    """A refusal or a failure whose text is meant for the person who runs the play.

    ``str(exc)`` is complete: callers print it as it is and add nothing.
    """

    @classmethod
    def refuse(
        cls,
        what: str,
        *,
        expected: str = "",
        found: str = "",
        where: str = "",
        fix: str = "",
    ) -> AirlockError:
        """Build the error from the four things a refusal owes its reader.

        Each part is a phrase without a final full stop; empty parts are left out:
        ``<where>: <what>: expected <expected>, found <found>; <fix>.``
        """
        text = f"{where}: {what}" if where else what
        if expected and found:
            text += f": expected {expected}, found {found}"
        elif expected or found:
            text += f": expected {expected}" if expected else f": found {found}"
        if fix:
            text += f"; {fix}"
        return cls(text + ".")
