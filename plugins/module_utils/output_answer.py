# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output filter on answers of every dialect, whole or streamed.

Each text of an answer, known by choice, kind and part, has one filter that sees all its pieces:
what is cut into events, at whatever place, is one text there. Which fields are text is what
:mod:`dialects` says, and :mod:`response_policy` lets nothing else of the model through.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from . import dialects
from .dialects import Document, TextField
from .errors import AirlockError
from .output_filter import JsonFilter, TextFilter
from .output_rules import Rules

Channel = tuple[int, str, str]

# Texts of a stream that are unfinished at a time. Each may hold back as much as the longest pattern.
_MAX_OPEN = 64
# Events of a stream that are kept to say like them what was held back, in bytes; and one as it came.
_MAX_SAMPLES, _MAX_SAMPLE = 64 * 1024, 4096
_MAX_NAMES = 1024  # of tools, and ids of calls of them, in a stream
_WINDOW = 16 * 1024  # characters that are searched without a turn for other threads


class Stopped(AirlockError):
    """Nothing more of the answer is to be sent; ``code`` is the machine-readable reason."""

    code = "answer_withheld"


class AnswerFilter:
    """Filters one answer (a :class:`response_policy.Screen`).

    ``found`` has the ids of the patterns that were masked. With ``stop`` the first find raises
    Stopped instead.
    """

    def __init__(
        self,
        rules: Rules,
        dialect: str,
        *,
        stop: bool = False,
    ):
        self.found: set[str] = set()
        self._rules = rules
        self._dialect = dialect
        self._stop = stop
        self._texts: dict[Channel, TextFilter] = {}
        self._samples: dict[Channel, tuple[Document, int]] = {}
        self._sampled = 0
        self._tokens: dict[tuple[int, str], TextFilter] = {}
        self._names: dict[tuple[Channel, str], str] = {}
        # Events of our own shift the numbers of those that follow.
        self._inserted = 0
        self._number = -1

    def document(self, document: Document) -> Document:
        """Return a whole answer with everything masked. Raises Stopped."""
        for field in dialects.texts(self._dialect, document):
            self._whole(field)
        self._spelled(document, self._logprobs(document), set(), final=True)
        self._checked()
        return document

    def text(self, text: str, *, final: bool = True) -> str:
        """Return a text as it may be sent that is no answer; one that is not ``final`` was cut short.

        Raises Stopped.
        """
        clean = TextFilter(self._rules, self.found).feed(text, final=final)
        self._checked()
        return clean

    def event(self, document: Document, size: int) -> Iterable[Document]:
        """Return the events that may leave now that this one of ``size`` bytes has come, in order.

        Raises Stopped, and AirlockError for a stream that keeps too much open.
        """
        pieces, holders = [], self._logprobs(document)
        over: set[Channel] = set()
        unsaid = self._holding() if holders else set()
        for field in dialects.texts(self._dialect, document, streamed=True):
            if field.whole:
                self._begins_nothing(document, field)
                over |= self._comes_whole(field)
                self._whole(field)
            else:
                pieces.append(field)
        here = {_channel(field) for field in pieces}
        ends = dialects.ended(self._dialect, document)
        ended: set[Channel] = set()
        if ends is None or ends:
            ended = {
                channel for channel in here.union(self._texts) if ends is None or channel[0] in ends
            }
        before = self._flushed((ended - here) | over.intersection(self._texts))
        for field in pieces:
            self._piece(field, _channel(field) in ended)
        if holders:
            self._spelled(document, holders, unsaid | self._holding())
        for channel in here - ended:
            self._remember(channel, document, size)
        for channel in ended & here:
            self._forget(channel)
        self._checked()
        return [*before, self._numbered(document)]

    def finish(self) -> Iterable[Document]:
        """Return the events that were held back; nothing follows. Raises Stopped."""
        events = self._flushed(set(self._texts))
        self._checked()
        return events

    def _whole(self, field: TextField) -> None:
        text = field.get()
        clean = _fed(self._filter_of(field), text, final=True)
        if clean != text:
            field.set(clean)

    def _piece(self, field: TextField, final: bool) -> None:
        channel = _channel(field)
        if channel not in self._texts:
            if len(self._texts) >= _MAX_OPEN:
                raise AirlockError("the backend has too many texts open.")
            self._texts[channel] = self._filter_of(field)
        field.set(_fed(self._texts[channel], field.get(), final=final))

    def _filter_of(self, field: TextField) -> TextFilter:
        kind = JsonFilter if field.kind == dialects.ARGUMENTS else TextFilter
        return kind(self._rules, self.found)

    def _holding(self) -> set[int]:
        return {channel[0] for channel, text in self._texts.items() if text.holds}

    def _remember(self, channel: Channel, document: Document, size: int) -> None:
        """Keep an event that says something in ``channel``."""
        if size > _MAX_SAMPLE:
            document = _saying(self._dialect, document, channel, "")
            size = len(dialects.encode(document))
        _replaced, known = self._samples.get(channel, (None, 0))
        self._sampled += size - known
        if self._sampled > _MAX_SAMPLES:
            raise AirlockError("the backend has too much open.")
        self._samples[channel] = document, size

    def _forget(self, channel: Channel) -> TextFilter:
        _document, size = self._samples.pop(channel, (None, 0))
        self._sampled -= size
        return self._texts.pop(channel)

    def _flushed(self, channels: set[Channel]) -> list[Document]:
        """End these texts; return events of our own with what they held back."""
        events = []
        for channel in sorted(channels):
            sample, _size = self._samples[channel]
            text = self._forget(channel).feed("", final=True)
            if text:
                event = _saying(self._dialect, sample, channel, text)
                self._inserted += 1
                if "sequence_number" in event:
                    event["sequence_number"] = self._number = self._number + 1
                events.append(event)
        return events

    def _begins_nothing(self, document: Document, field: TextField) -> None:
        """Refuse a block that opens with text: the pieces that follow would go on in its middle."""
        if document.get("type") == "content_block_start" and field.get() and field.kind in (
            dialects.CONTENT, dialects.REASONING,
        ):  # fmt: skip
            raise AirlockError("the backend opened a block with text.")

    def _comes_whole(self, field: TextField) -> set[Channel]:
        """Empty what repeats the name of a call, and refuse the rest of one; return the arguments that another id ends.

        Of pieces clients would put together what nobody has looked at, and none can be held back, because clients call
        the tool that the first event of a call names. A name that grows comes whole each time.
        """
        if self._dialect not in dialects.CHOICES or field.kind != dialects.NAME:
            return set()
        channel, text = _channel(field), field.get()
        key = channel, field.member
        known = self._names.get(key, "")
        ends: set[Channel] = set()
        if known == text:
            field.set("")
        elif text and not text.startswith(known):
            if field.member != "id":
                raise AirlockError("the backend sent the name of a tool call in pieces.")
            # Some backends have one index for all calls.
            self._names.pop((channel, "name"), None)
            ends.add((channel[0], dialects.ARGUMENTS, channel[2]))
        if text:
            self._names[key] = text
        if len(self._names) > _MAX_NAMES:
            raise AirlockError("the backend calls too many tools.")
        return ends

    def _logprobs(self, document: Document) -> list[tuple[int, Document]]:
        return list(dialects.logprobs(self._dialect, document))

    def _spelled(
        self,
        document: Document,
        holders: list[tuple[int, Document]],
        unsaid: set[int],
        *,
        final: bool = False,
    ) -> None:
        """Drop token probabilities that say, once more or before the text, what may not leave.

        They are looked at as texts of their own. Those of an index that is ``unsaid`` go, because
        its text is held back; once anything was found, all go, since they and the text that they
        belong to need not come in one event. Of those that stay the alternatives go.
        """
        for index, holder in holders:
            # The last events of a response say again what those of another type have said.
            key = index, str(document.get("type"))
            tokens = self._tokens.setdefault(key, TextFilter(self._rules, self.found))
            if len(self._tokens) > _MAX_OPEN:
                raise AirlockError("the backend has too many texts open.")
            _fed(tokens, dialects.spelled(holder["logprobs"]), final=final)
            if tokens.holds:
                unsaid.add(index)
        for index, holder in holders:
            if self.found or index in unsaid:
                holder.pop("logprobs")
            else:
                dialects.drop_unsaid(holder["logprobs"])

    def _numbered(self, event: Document) -> Document:
        if isinstance(event.get("sequence_number"), int):
            self._number = event["sequence_number"] = event["sequence_number"] + self._inserted
        return event

    def _checked(self) -> None:
        if self.found and self._stop:
            raise Stopped("The answer was withheld: it holds what may not leave.")


def _fed(mask: TextFilter, text: str, *, final: bool) -> str:
    """Do ``mask.feed``, in windows: other threads get a turn in between."""
    if len(text) <= _WINDOW:
        return mask.feed(text, final=final)
    starts = range(0, len(text), _WINDOW)
    out = [mask.feed(text[start : start + _WINDOW]) for start in starts]
    return "".join([*out, mask.feed("", final=final)])


def _channel(field: TextField) -> Channel:
    return field.index, field.kind, field.part


def _saying(dialect: str, sample: Document, channel: Channel, text: str) -> Document:
    """Return an event like ``sample`` that says ``text`` in ``channel`` and nothing else."""
    event = copy.deepcopy(sample)
    event.pop("usage", None)
    if dialect in dialects.CHOICES:
        event["choices"] = [one for one in event["choices"] if one.get("index", 0) == channel[0]]
    if dialect in dialects.LINES and isinstance(event.get("message"), dict):
        event["message"].pop("tool_calls", None)  # they came whole, and would come twice
    for _index, holder in list(dialects.logprobs(dialect, event)):
        holder.pop("logprobs")
    for field in list(dialects.texts(dialect, event, streamed=True)):
        field.set(text if _channel(field) == channel and not field.whole else "")
    return event
