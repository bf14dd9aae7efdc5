# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library as one reproducible file for hosts.

Programs on a host put the archive on ``sys.path`` and import the package ``airlock`` from it
(zipimport, https://docs.python.org/3/library/zipimport.html).
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

# The earliest time that a zip archive can hold: equal sources give equal bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(package: str, sources: Path) -> bytes:
    """Return a zip archive that holds the modules of ``sources`` as ``package``.

    Raises OSError when a source cannot be read.
    """
    modules = {path.name: path.read_bytes() for path in sources.glob("*.py")}
    modules.setdefault("__init__.py", b"")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(modules):
            member = zipfile.ZipInfo(f"{package}/{name}", _EPOCH)
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, modules[name])
    return buffer.getvalue()
