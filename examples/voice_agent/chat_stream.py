"""What an OpenAI-compatible server streams back: bytes in, deltas out. Sans I/O."""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from examples.voice_agent.ports import (
    AnswerEnd,
    Delta,
    LanguageModelError,
    TextDelta,
    ToolCall,
    Usage,
)
from examples.voice_agent.sse import SseDecoder, SseError
from examples.voice_agent.tool_calls import ToolCallAssembler, ToolTextFilter
from examples.voice_agent.tool_syntax import WrittenCall

RETRYABLE_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

_BY_STATUS = frozenset({401, 403, 404})
"""Codes of these are as the status says, whatever the server calls them."""


class ChatStream:
    """Bytes of one answer in, deltas out."""

    def __init__(self, names: Collection[str], used_ids: Collection[str] = ()) -> None:
        self.progressed = False
        """The latest bytes brought the answer forward: a keep-alive, a role do not."""
        self.finished = False
        """The model has said why it stopped; what may come yet is the usage."""
        self.ended = False
        self._events = SseDecoder()
        self._text = ToolTextFilter(names)
        self._calls = ToolCallAssembler()
        self._used_ids = set(used_ids)
        self._reason: str | None = None
        self._usage: Usage | None = None

    def feed(self, data: bytes) -> list[Delta]:
        """
        Raises:
            LanguageModelError: the server says so, or it does not speak this API.
        """
        self.progressed = False
        try:
            events = self._events.feed(data)
        except SseError as error:
            raise LanguageModelError(
                f"The language model's stream is broken: {error}.",
                code="bad_stream",
                retryable=False,
            ) from None
        return [delta for event in events for delta in self._take(event)]

    def finish(self) -> list[Delta]:
        """The connection is over.

        Raises:
            LanguageModelError: it broke off before the answer was complete.
        """
        deltas: list[Delta] = []
        if not self.ended:
            deltas = self._last_event()
        if not self.ended and self._reason is None:
            raise LanguageModelError(
                "The language model's server ended the connection before its answer was complete.",
                code="broken_off",
                retryable=True,
            )
        return deltas + self._end()

    def _last_event(self) -> list[Delta]:
        try:
            return [delta for event in self._events.finish() for delta in self._take(event)]
        except LanguageModelError:
            if not self.finished:
                raise
            return []  # half an event, after the answer

    def _take(self, event: str) -> list[Delta]:
        if self.ended:
            return []
        if event.strip() == "[DONE]":
            return self._end()
        try:
            chunk = json.loads(event)
            if error := chunk.get("error"):
                raise server_error(None, error)
            if usage := chunk.get("usage"):
                self._usage = _usage(usage)
            choices = chunk.get("choices") or ()
            return self._choice(choices[0]) if choices else []
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            raise LanguageModelError(
                f"The language model's server sent what this API does not know: {event[:100]!r}.",
                code="bad_stream",
                retryable=False,
            ) from None

    def _choice(self, choice: Mapping[str, Any]) -> list[Delta]:
        delta = choice.get("delta") or {}
        deltas: list[Delta] = []
        if text := delta.get("content"):
            self.progressed = True
            deltas += self._parts(self._text.feed(text))
        if fragments := delta.get("tool_calls"):
            self.progressed = True
            self._calls.feed(fragments)
        if choice.get("finish_reason"):
            self._reason = str(choice["finish_reason"])
            self.progressed = self.finished = True
            deltas += self._flush()
        return deltas

    def _flush(self) -> list[Delta]:
        called = [
            ToolCall(self._unique(call.call_id), call.name, call.arguments)
            for call in self._calls.finish()
        ]
        return [*self._parts(self._text.finish()), *called]

    def _parts(self, parts: Sequence[str | WrittenCall]) -> list[Delta]:
        return [
            TextDelta(part)
            if isinstance(part, str)
            else ToolCall(self._unique(""), part.name, part.arguments)
            for part in parts
        ]

    def _unique(self, call_id: str) -> str:
        """Some servers count from 0 in every answer."""
        if not call_id or call_id in self._used_ids:
            call_id = f"call_{uuid.uuid4().hex[:24]}"
        self._used_ids.add(call_id)
        return call_id

    def _end(self) -> list[Delta]:
        if self.ended:
            return []
        self.ended = True
        return [*self._flush(), AnswerEnd(self._reason or "stop", self._usage)]


def _usage(usage: Mapping[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        cached_tokens=int(details.get("cached_tokens") or 0),
    )


# Errors.


def refusal(status: int, body: bytes) -> LanguageModelError:
    """What an answer that is no 200 says."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body.decode("utf-8", errors="replace")
    if isinstance(value, dict):
        value = value.get("error") or value.get("detail") or value.get("message") or value
    return server_error(status, value)


def server_error(status: int | None, error: object) -> LanguageModelError:
    """An error object of the API, in a response of this status or within a stream."""
    message: object = error
    code: object = None
    if isinstance(error, Mapping):
        message = error.get("message") or error
        code = error.get("code")
        if not isinstance(code, str):
            code = error.get("type")
        if status is None and isinstance(error.get("code"), int):
            status = error["code"]
    text = str(message).strip()[:300] or "without a reason"
    said = (
        f"The language model's server refused ({status})" if status else "The language model failed"
    )
    if not isinstance(code, str) or status in _BY_STATUS:
        code = f"http_{status}" if status else "server_error"
    return LanguageModelError(
        f"{said}: {text}",
        code=code,
        retryable=status is None or status in RETRYABLE_STATUS,
    )
