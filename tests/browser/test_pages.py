# SPDX-License-Identifier: GPL-3.0-or-later
"""The two pages in a real browser: readable, and inert whatever a host calls itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.airlock.plugins.plugin_utils.pages import evidence, render, survey

from . import png

Browser = Callable[..., str]

ATTACK = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
FAILED_GROUND = (0xFC, 0xE4, 0xE4)  # --failed-ground of the light theme


def record(control: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "control": control,
        "vantage": "self",
        "probe": f"probe of {control}",
        "expected": "refused",
        "observed": "refused: ENETUNREACH",
        "holds": verdict != "failed",
        "denial": True,
        "positive_control": None if verdict == "unproven" else "reached from client",
        "verdict": verdict,
        "when": "2026-01-01T00:00:00Z",
        **more,
    }


def seen(when: str, *sentences: str) -> dict[str, Any]:
    listener = {
        "protocol": "tcp",
        "address": "::",
        "port": 80,
        "reach": "everywhere",
        "unit": "",
    }
    return {
        "version": 1,
        "when": when,
        "unreadable": {},
        "listeners": [{**listener, "process": ATTACK}],
        **{
            key: []
            for key in ("answers", "containers", "ollama_stores", "hub_caches", "jobs", "disks")
        },
        **dict.fromkeys(("accelerators", "firewall", "network")),
        "secure_boot": "off",
        "findings": [
            {"key": text, "severity": "high", "plane": "NET", "sentence": text}
            for text in sentences
        ],
    }


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("pages")
    document = {
        "host": f"inference{ATTACK}",
        "finished": "2026-01-01T00:00:00Z",
        "records": [
            record("NET-03", "failed", observed=ATTACK, probe=ATTACK),
            record("NET-04", "unproven"),
            record("GW-01", "passed", vantage="external"),
        ],
    }
    surveys = {
        "before": seen("2026-01-01T00:00:00Z", "A listener is open.", ATTACK),
        "latest": seen("2026-01-02T00:00:00Z", ATTACK),
    }
    made = {
        "evidence": render.page(
            "evidence.html.j2", evidence.context([document], {document["host"]: surveys})
        ),
        "survey": render.page("survey.html.j2", survey.context(ATTACK, surveys["before"])),
    }
    for name, text in made.items():
        (directory / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: directory / f"{name}.html" for name in made}


@pytest.fixture(scope="module")
def trees(pages: dict[str, Path], chromium: Browser) -> dict[str, str]:
    """Return each page as the browser has it after everything that could run has run."""
    return {name: chromium(path, "--dump-dom") for name, path in pages.items()}


@pytest.mark.parametrize("name", ["evidence", "survey"])
def test_nothing_of_a_host_becomes_markup(trees: dict[str, str], name: str) -> None:
    assert "<script" not in trees[name]
    assert "<img" not in trees[name]
    assert "<title>pwned" not in trees[name]
    assert "&lt;script&gt;" in trees[name]


def test_the_verdicts_are_there(trees: dict[str, str]) -> None:
    assert 'id="verdict">1 of 3 probes failed<' in trees["evidence"]
    assert 'id="verdict">2 serious finding(s), 0 to know about<' in trees["survey"]


def test_what_the_host_says_and_what_others_saw_are_counted_apart(trees: dict[str, str]) -> None:
    text = re.sub(r"<[^>]+>|\s+", " ", trees["evidence"])
    text = re.sub(r" +", " ", text)
    assert "Seen from outside: 1 passed Said" in text
    assert "Said by the host itself: 0 passed 1 unproven 1 failed" in text


def test_before_and_after(trees: dict[str, str]) -> None:
    rows = re.findall(r"<tr>.*?</tr>", trees["evidence"], re.DOTALL)
    gone = next(row for row in rows if "A listener is open." in row)
    assert ">gone<" in gone
    assert any(">still there<" in row for row in rows)


@pytest.mark.parametrize(
    ("name", "policy", "title"), [("evidence", True, "1 of 3"), ("evidence", False, "pwned")]
)
def test_the_policy_stops_what_escaping_would_miss(
    pages: dict[str, Path], chromium: Browser, tmp_path: Path, name: str, policy: bool, title: str
) -> None:
    """The second case is the control: without the policy the same markup does run."""
    text = pages[name].read_text(encoding="utf-8").replace("</body>", f"{ATTACK}</body>")
    if not policy:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    attacked = tmp_path / "attacked.html"
    attacked.write_text(text, encoding="utf-8")
    found = re.search(
        r"<title>(.*?)</title>", chromium(attacked, "--dump-dom", "--virtual-time-budget=2000")
    )
    assert found is not None
    assert found[1].startswith(title)


@pytest.mark.parametrize("name", ["evidence", "survey"])
def test_a_person_sees_the_verdict_in_its_colour(
    pages: dict[str, Path], chromium: Browser, tmp_path: Path, name: str
) -> None:
    """The colour is there only if the policy lets the style sheet through."""
    picture = tmp_path / "page.png"
    chromium(pages[name], f"--screenshot={picture}", "--window-size=800,600", "--hide-scrollbars")
    counts = png.colours(picture.read_bytes())
    assert counts[FAILED_GROUND] > 10_000
    assert len(counts) > 20, "letters are anti-aliased, so a page with text has many colours"
