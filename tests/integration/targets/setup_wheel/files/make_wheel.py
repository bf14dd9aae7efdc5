# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a wheel with a model inside at the path given; prints its SHA-256 and size."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

path = Path(sys.argv[1])
path.parent.mkdir()
with zipfile.ZipFile(path, "w") as wheel:
    wheel.writestr("demo/__init__.py", "raise SystemExit('imported')")
    wheel.writestr("demo/model.gguf", "weights")
    wheel.writestr(
        "demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
    )
    wheel.writestr(
        "demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    wheel.writestr("demo-1.0.dist-info/RECORD", "")
print(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, sep="\n")
