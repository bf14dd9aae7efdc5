# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics in the text format of Prometheus (version 0.0.4), on a socket of their own.

Labels are routes of the catalogue, services of the slots, and statuses and reasons of ours: nothing that a
client wrote is among them, so that their number is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from aiohttp import web
from audit import Entry, Trail

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

Labels = tuple[tuple[str, str], ...]


class _Histogram:
    """Observations by service, in seconds."""

    def __init__(self) -> None:
        self._buckets: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()

    def observe(self, service: str, milliseconds: int) -> None:
        buckets = self._buckets.setdefault(service, [0] * (len(_SECONDS) + 1))
        buckets[bisect_left(_SECONDS, milliseconds / 1000)] += 1
        self._sums[service] += milliseconds

    def lines(self, name: str, help_text: str) -> list[str]:
        found = [f"# HELP {name} {help_text}", f"# TYPE {name} histogram"]
        for service, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip([*map(str, _SECONDS), "+Inf"], buckets, strict=True):
                total += count
                found.append(f'{name}_bucket{{service="{service}",le="{bound}"}} {total}')
            found.append(f'{name}_sum{{service="{service}"}} {self._sums[service] / 1000}')
            found.append(f'{name}_count{{service="{service}"}} {total}')
        return found


class Metrics:
    """Counts what the gatekeeper did since it started."""

    def __init__(self, trail: Trail):
        self._trail = trail
        self._requests: Counter[Labels] = Counter()
        self._refusals: Counter[Labels] = Counter()
        self._tokens: Counter[Labels] = Counter()
        self._first_token = _Histogram()
        self._duration = _Histogram()
        self._unaudited = 0

    def observe(self, entry: Entry) -> None:
        """Count a request that is over."""
        service = entry.service or ""
        labels = (
            ("route", entry.route or ""),
            ("service", service),
            ("status", str(entry.status)),
        )
        self._requests[labels] += 1
        if entry.reason == "not_audited":
            self._unaudited += 1
        if entry.reason != "ok":
            self._refusals[(("reason", entry.reason),)] += 1
        for kind, count in (
            ("prompt", entry.prompt_tokens),
            ("completion", entry.completion_tokens),
        ):
            if count:
                self._tokens[("service", service), ("kind", kind)] += count
        if entry.ttft_ms is not None:
            self._first_token.observe(service, entry.ttft_ms)
        if service:
            self._duration.observe(service, entry.ms)

    def text(self) -> str:
        """Return all metrics."""
        lines = [
            *_counter("airlock_requests_total", "Requests that are over.", self._requests),
            *_counter("airlock_refusals_total", "Requests that did not end well.", self._refusals),
            *_counter("airlock_tokens_total", "Tokens that runtimes reported.", self._tokens),
            *self._first_token.lines(
                "airlock_first_token_seconds", "Time to the first part of a streamed answer."
            ),
            *self._duration.lines("airlock_request_seconds", "Time from request to end of answer."),
            *_gauge("airlock_audit_up", "Whether the trail takes records.", int(self._trail.up)),
            *_gauge("airlock_audit_owed", "Records that wait for the trail.", self._trail.owed),
            "# HELP airlock_audit_refused_total Requests refused because they cannot be recorded.",
            "# TYPE airlock_audit_refused_total counter",
            f"airlock_audit_refused_total {self._unaudited}",
        ]
        return "\n".join(lines) + "\n"

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a scraper."""
        if (request.method, request.path) != ("GET", "/metrics"):
            return web.Response(status=404)
        return web.Response(body=self.text().encode(), headers={"Content-Type": CONTENT_TYPE})


def _counter(name: str, help_text: str, values: Counter[Labels]) -> list[str]:
    found = [f"# HELP {name} {help_text}", f"# TYPE {name} counter"]
    for labels, value in sorted(values.items()):
        text = ",".join(f'{label}="{content}"' for label, content in labels)
        found.append(f"{name}{{{text}}} {value}")
    return found


def _gauge(name: str, help_text: str, value: int) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} gauge", f"{name} {value}"]
