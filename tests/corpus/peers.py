# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the corpus to what others use, and prints a table of what each refuses. `tests/run-peers` runs it.

A tool that fails on a file counts as refusing it. One that skips a file because of its name says that it
found nothing, which is what its user sees.
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

# ruff: noqa: E402
import gguf
import modelscan.modelscan
import picklescan.scanner
import safetensors

from ansible_collections.homelab.airlock.plugins.module_utils import formats
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.tests.corpus import all_cases
from ansible_collections.homelab.airlock.tests.corpus.case import Case

SECONDS = 20
MEMORY = 4 * 1024**3


def ours(path: Path) -> bool:
    try:
        formats.check(str(path))
    except AirlockError:
        return True
    return False


def by_modelscan(path: Path) -> bool:
    found = modelscan.modelscan.ModelScan().scan(path)
    return bool(found["issues"] or found["errors"])


def by_picklescan(path: Path) -> bool:
    found = picklescan.scanner.scan_file_path(path)
    return bool(found.issues_count or found.scan_err)


def by_gguf(path: Path) -> bool:
    gguf.GGUFReader(path)
    return False


def by_safetensors(path: Path) -> bool:
    with safetensors.safe_open(path, "np") as opened:
        opened.keys()
    return False


TOOLS: dict[str, Callable[[Path], bool]] = {
    "ours": ours,
    "modelscan": by_modelscan,
    "picklescan": by_picklescan,
    "gguf": by_gguf,
    "safetensors": by_safetensors,
}
# A library of one format has nothing to say about others.
ONLY = {"gguf": {"gguf"}, "safetensors": {"safetensors"}}


def refuses(tool: str, path: Path) -> bool:
    """Return whether ``tool`` refuses the file, in a process that it may break."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=answer, args=(tool, path, writer))
    child.start()
    child.join(SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
    return bool(reader.recv()) if reader.poll() else True


def answer(tool: str, path: Path, writer: multiprocessing.connection.Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            refused = TOOLS[tool](path)
        except BaseException:  # noqa: BLE001 - whatever it fails with, it did not say yes
            refused = True
    writer.send(refused)


def main() -> int:
    """Print the table; fail unless we refuse all that is bad and nothing that is good."""
    cases: dict[str, list[Case]] = {}
    for title, part in (("bad", all_cases.bad()), ("good", all_cases.good())):
        for case in part:
            cases.setdefault(f"{title} {case.kind}", []).append(case)
    print(f"{'refused of':<18}{'':>6}" + "".join(f"{tool:>13}" for tool in TOOLS))
    right = True
    with tempfile.TemporaryDirectory(prefix="airlock-peers-") as directory:
        for title, part in cases.items():
            counts = dict.fromkeys(TOOLS, 0)
            for case in part:
                path = Path(directory) / case.name
                path.write_bytes(case.data)
                for tool in TOOLS:
                    if case.kind in ONLY.get(tool, {case.kind}):
                        counts[tool] += refuses(tool, path)
                path.unlink()
            cells = [
                str(counts[tool]) if part[0].kind in ONLY.get(tool, {part[0].kind}) else "-"
                for tool in TOOLS
            ]
            print(
                f"{title:<18}{len(part):>6}" + "".join(f"{cell:>13}" for cell in cells), flush=True
            )
            right = right and counts["ours"] == (len(part) if title.startswith("bad") else 0)
    return not right


if __name__ == "__main__":
    sys.exit(main())
