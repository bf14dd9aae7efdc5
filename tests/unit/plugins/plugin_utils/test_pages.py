# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.module_utils import survey as library
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils.pages import (
    evidence,
    files,
    render,
    survey,
)


def record(control: str, verdict: str) -> dict[str, Any]:
    return {
        "control": control,
        "vantage": "self",
        "probe": "a probe",
        "expected": "refused",
        "observed": "refused",
        "denial": False,
        "positive_control": None,
        "verdict": verdict,
        "when": "2026-01-01T00:00:00Z",
    }


def document(*records: dict[str, Any], host: str = "box") -> dict[str, Any]:
    return {"host": host, "finished": "2026-01-01T00:00:00Z", "records": list(records)}


@pytest.mark.parametrize(
    ("counts", "kind", "text"),
    [
        ((0, 0, 0, 0), "unproven", "Nothing was tried"),
        ((0, 0, 0, 5), "passed", "All 5 probes held"),
        ((0, 0, 1, 4), "waived", "Nothing failed, but 1 of 5 probes are waived for a time"),
        ((0, 1, 0, 4), "unproven", "Nothing failed, but 1 of 5 probes prove nothing"),
        ((0, 1, 1, 3), "unproven", "Nothing failed, but 1 of 5 probes prove nothing, and 1 waived"),
        ((1, 1, 1, 2), "failed", "1 of 5 probes failed"),
    ],
)
def test_the_verdict_is_never_better_than_the_worst_probe(
    counts: tuple[int, int, int, int], kind: str, text: str
) -> None:
    assert evidence.verdict(dict(zip(evidence.VERDICTS, counts, strict=True))) == {
        "kind": kind,
        "text": text,
    }


def test_a_waiver_is_shown_with_its_reason_and_its_end() -> None:
    waived = {**record("NET-20", "waived"), "waiver": {"reason": "<b>", "until": "2026-12-01"}}
    text = render.page("evidence.html.j2", evidence.context([document(waived)], {}))
    assert "<dd>2026-12-01: &lt;b&gt;</dd>" in text
    assert '<span class="pill waived">1 waived</span>' in text


def test_planes_are_in_order_and_unknown_ones_are_not_lost() -> None:
    shown = evidence.context([document(record("ZZZ-1", "passed"), record("NET-1", "failed"))], {})
    assert [plane["title"] for plane in shown["hosts"][0]["planes"]] == ["Network", "ZZZ"]


def test_only_our_style_sheet_passes_the_policy() -> None:
    text = render.page(
        "evidence.html.j2", evidence.context([document(record("NET-1", "passed"))], {})
    )
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.replace("&#39;", "'") == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_text_of_a_host_is_escaped_in_text_and_attributes() -> None:
    hostile = "\"'><script>alert(1)</script>"
    text = render.page(
        "evidence.html.j2",
        evidence.context([document(record(hostile, "passed"), host=hostile)], {}),
    )
    assert "<script" not in text
    assert hostile not in text


def test_a_survey_of_a_machine_that_could_not_be_read_has_a_page() -> None:
    def broken(*_arguments: Any) -> Any:
        raise OSError("no")

    seen = {
        **library.report(library.survey(broken, broken, "/nonexistent")),
        "when": "2026-01-01T00:00:00Z",
    }
    text = render.page("survey.html.j2", survey.context("box", seen))
    assert "What could not be read" in text


def write(site: Path, name: str, value: Any) -> None:
    (site / "evidence").mkdir(exist_ok=True)
    (site / "evidence" / name).write_text(json.dumps(value))


def test_the_files_of_a_site_directory(tmp_path: Path) -> None:
    write(tmp_path, "box.json", document(record("NET-1", "passed")))
    write(tmp_path, "survey-box.json", {"when": "2"})
    write(tmp_path, "survey-box.before.json", {"when": "1"})
    assert [found["host"] for found in files.evidence(tmp_path)] == ["box"]
    assert files.surveys(tmp_path) == {"box": {"latest": {"when": "2"}, "before": {"when": "1"}}}
    assert files.survey(tmp_path, "box") == {"when": "2"}
    with pytest.raises(AirlockError, match=r"other has not been surveyed; run survey\.yml first"):
        files.survey(tmp_path, "other")
