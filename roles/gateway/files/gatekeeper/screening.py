# SPDX-License-Identifier: GPL-3.0-or-later
"""The input screen and the output filter around a request: who is under which, and what becomes of a find.

Whatever goes wrong in here ends the request: an answer that could not be looked at is not sent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from airlock import canonical, dialects, screen
from airlock.confidence import Confidence
from airlock.dialects import Document
from airlock.errors import AirlockError
from airlock.files import read_limited
from airlock.key_scopes import BLOCK, FILTERS, OFF, SCREENS, STOP, Scope
from airlock.output_answer import AnswerFilter, Stopped
from airlock.output_rules import Rules
from airlock.request_policy import Refusal
from audit import REDACTED, Entry
from looking import Looking
from transcript import Transcript

T = TypeVar("T")

_LIMIT = 4 * 1024 * 1024
_TABLES = ("input", "weights", "output")
_PRIVATE = ("secrets", "pii", "email")  # categories that a redacted text has none of
_SEVERITY = (screen.ALLOW, screen.FLAG, screen.BLOCK)


class Unfiltered(Stopped):
    """The filter failed, so nobody knows what the answer holds."""

    code = "filter_failed"


@dataclass(frozen=True)
class Policy:
    """What the site wants; a key may have a ``screen`` and a ``filter`` of its own."""

    screen: str
    filter: str
    uncertain: bool

    def check(self, where: str) -> None:
        """Refuse a policy that does not exist. Raises AirlockError."""
        for name, value, known in (
            ("screen", self.screen, SCREENS),
            ("filter", self.filter, FILTERS),
        ):
            if value not in known:
                raise AirlockError.refuse(
                    f"this is not a policy for the {name}",
                    expected=", ".join(known),
                    found=repr(value),
                    where=where,
                )


class Screening:
    """Screen and filter as the files in a directory say."""

    def __init__(self, directory: Path):
        """Read ``screening.json`` and the tables. Raises AirlockError and OSError."""
        where, table = str(directory / "screening.json"), directory / "screens/output.json"
        settings = _read(directory / "screening.json")
        tables = {name: _read(directory / f"screens/{name}.json") for name in _TABLES}
        patterns = tables["output"]
        try:
            self._versions = ", ".join(f"{name} {tables[name]['version']}" for name in _TABLES)
            self._policy = Policy(settings["screen"], settings["filter"], settings["uncertain"])
            self._rules = Rules.from_document(
                patterns,
                categories=settings["categories"],
                canaries=settings["canaries"],
                hosts=settings["link_hosts"],
                where=str(table),
            )
            self._private = Rules.from_document(
                patterns,
                categories=_PRIVATE,
                canaries=settings["canaries"],
                where=str(table),
            )
        except (KeyError, TypeError) as exc:
            raise AirlockError.refuse(
                "these are not the settings of screen and filter", found=repr(exc), where=where
            ) from exc
        self._policy.check(where)
        self._looking = Looking(
            screen.Screen(tables["input"], tables["weights"], where=str(directory / "screens"))
        )

    def of(self, scope: Scope, dialect: str, entry: Entry) -> Guard:
        """Return what stands around a request with a key of this scope."""
        policy = Policy(
            scope.screen or self._policy.screen,
            scope.filter or self._policy.filter,
            self._policy.uncertain,
        )
        entry.tables = self._versions
        entry.transcript = Transcript(self._private, dialect, entry.prompt)
        return Guard(policy, self._looking, self._rules, dialect, entry)


class Guard:
    """Screen and filter of one request (a response_policy.Screen).

    What they find goes into its audit entry, once :meth:`note` was called.
    """

    def __init__(self, policy: Policy, looking: Looking, rules: Rules, dialect: str, entry: Entry):
        self._policy = policy
        self._looking = looking
        self._entry = entry
        self._dialect = dialect
        self._confidence = Confidence(dialect) if policy.uncertain else None
        self._filter = AnswerFilter(rules, dialect, stop=policy.filter == STOP)

    async def check(self, body: Document) -> None:
        """Judge a checked body. Raises Refusal (403) when the policy is to block it."""
        if self._policy.screen == OFF:
            return
        worst = screen.ALLOW
        for channel, text in screen.collect(body).items():
            verdict = await self._looking.judge(text, channel)
            if verdict.action != screen.ALLOW:
                self._entry.verdicts.append(f"screen:{channel}:{verdict.action}")
                self._entry.verdicts += [f"screen:{channel}:{hit}" for hit in verdict.hits]
                worst = max(worst, verdict.action, key=_SEVERITY.index)
        if worst == screen.BLOCK and self._policy.screen == BLOCK:
            raise Refusal(403, "screened", "The input screen refuses this request.")

    def note(self) -> None:
        """Put into the audit entry what was found in the answer."""
        self._entry.verdicts += sorted(f"filter:{name}" for name in self._filter.found)
        if self._confidence:
            self._entry.verdicts += self._confidence.verdicts()

    def text(self, text: str, *, final: bool) -> str:
        """Return what may be sent of a text that is no answer; not ``final``, it goes on. Raises Stopped."""
        if self._policy.filter != OFF:
            text = _sure(self._filter.text, text, final=final)
        if self._entry.keeps == REDACTED and self._entry.transcript:
            self._entry.transcript.add_text(text)
        return text

    # -- the answer: response_policy.Screen -------------------------------------------------

    def document(self, document: Document) -> Document:
        """Return a whole answer as it may be sent. Raises Stopped."""
        self._weigh(document)
        if self._policy.filter != OFF:
            document = _sure(self._filter.document, document)
        self._leaving([document], over=True, streamed=False)
        return document

    def event(self, document: Document, size: int) -> Iterable[Document]:
        """Return the events that may leave now. Raises Stopped and AirlockError."""
        self._weigh(document)
        ended = dialects.ended(self._dialect, document)
        off = self._policy.filter == OFF
        documents = [document] if off else _sure(self._filter.event, document, size)
        return self._leaving(documents, over=ended is None or bool(ended))

    def finish(self) -> Iterable[Document]:
        """Return the events that were held back. Raises Stopped."""
        off = self._policy.filter == OFF
        return self._leaving([] if off else _sure(self._filter.finish), over=True)

    def _weigh(self, document: Document) -> None:
        """Note how sure the model is; the filter takes out what says it."""
        if self._confidence:
            _sure(self._confidence.came, document)

    def _leaving(
        self, documents: Iterable[Document], *, over: bool, streamed: bool = True
    ) -> list[Document]:
        """Return ``documents``, which leave; their texts are kept where that is the policy.

        Once a text is ``over``, it is known how sure the model was of it. Raises Stopped.
        """
        documents = list(documents)
        if self._confidence:
            for document in documents:
                _sure(self._confidence.left, document, streamed=streamed)
            if over and self._policy.filter == STOP and _sure(self._confidence.certain):
                raise Stopped("The answer was withheld: it is surer of itself than the model is.")
        if self._entry.keeps == REDACTED and self._entry.transcript:
            for document in documents:
                self._entry.transcript.add(document, streamed=streamed)
        return documents


def _sure(step: Callable[..., T], *arguments: Any, **options: Any) -> T:
    try:
        return step(*arguments, **options)
    except AirlockError:
        raise
    except Exception as exc:
        print(f"gatekeeper: output filter: {type(exc).__name__}", file=sys.stderr, flush=True)
        raise Unfiltered("The answer was withheld: it could not be checked.") from exc


def _read(path: Path) -> Any:
    # Weights are floats, which canonical.loads would refuse.
    return canonical.parse(read_limited(str(path), _LIMIT), where=str(path))
