"""Tool calls out of a stream: assembled from their fragments, or found in the text. Sans I/O."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from examples.voice_agent.tool_syntax import (
    MALFORMED,
    MAX_CALL_CHARACTERS,
    NotACall,
    WrittenCall,
    balanced_end,
    malformed,
    parse_block,
    parse_json_calls,
    parse_python_calls,
    read_arguments,
)

MAX_CALLS = 32
MAX_ARGUMENTS = 65_536

# Fragments, as the API streams them.


@dataclass(slots=True)
class _Partial:
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    size: int = 0


@dataclass(frozen=True, slots=True)
class AssembledCall:
    call_id: str
    """"" when the server gave none."""
    name: str
    arguments: Mapping[str, Any]


class ToolCallAssembler:
    """Puts `delta.tool_calls` together by their index, however servers cut them."""

    def __init__(self) -> None:
        self._calls: list[_Partial] = []
        self._by_index: dict[int, _Partial] = {}

    def feed(self, fragments: Sequence[Mapping[str, Any]]) -> None:
        for fragment in fragments:
            function = fragment.get("function") or {}
            call = self._slot(fragment, bool(function.get("name")))
            if call is None:
                continue
            call.call_id = call.call_id or str(fragment.get("id") or "")
            call.name = call.name or str(function.get("name") or "")
            arguments = function.get("arguments") or ""
            if call.size <= MAX_ARGUMENTS and isinstance(arguments, str):
                call.arguments.append(arguments)
                call.size += len(arguments)

    def _slot(self, fragment: Mapping[str, Any], is_named: bool) -> _Partial | None:
        """The call that a fragment belongs to; some servers leave the index out or always say 0."""
        call_id, index = fragment.get("id"), fragment.get("index")
        known = self._by_index.get(index) if isinstance(index, int) else None
        if known is None and not isinstance(index, int) and self._calls and not is_named:
            known = self._calls[-1]
        if known is not None and not (is_named and call_id and known.call_id not in ("", call_id)):
            return known
        if len(self._calls) == MAX_CALLS:
            return None
        self._calls.append(new := _Partial())
        if isinstance(index, int):
            self._by_index[index] = new
        return new

    def finish(self) -> list[AssembledCall]:
        """All calls, in the order in which they began."""
        calls, self._calls, self._by_index = self._calls, [], {}
        return [self._whole(call) for call in calls if call.name]

    @staticmethod
    def _whole(call: _Partial) -> AssembledCall:
        text = "".join(call.arguments)
        too_long = call.size > MAX_ARGUMENTS
        arguments = {MALFORMED: "too long"} if too_long else read_arguments(text)
        return AssembledCall(call.call_id, call.name, arguments)


# Calls that arrive as text.


@dataclass(frozen=True, slots=True)
class _Found:
    length: int
    calls: Sequence[WrittenCall] = ()


class _Maybe:
    """More text is needed to tell."""


_MAYBE = _Maybe()
_Verdict = _Found | _Maybe | None

_CLOSERS = {
    "<|python_start|>": re.compile(r"<\|(?:python_end|eom|eot|eom_id|eot_id)\|>"),
    "<|python_tag|>": re.compile(r"<\|(?:eom_id|eot_id|python_end)\|>"),
    "<tool_call>": re.compile(r"</tool_call>"),
}
_STRAY = ("<|python_end|>", "<|eom|>", "<|eot|>", "<|eom_id|>", "<|eot_id|>", "</tool_call>")
_TOKENS = (*_CLOSERS, *_STRAY)

_CANDIDATE = re.compile(r"[\[{<]")
_GAP = re.compile(r"[\s;,]*")
_PYTHON = re.compile(r"\[\s*([A-Za-z_][\w.]*)?(\s*)(\()?")
_KEYWORD = re.compile(r"\s*(?:\)|\w*\s*(?:=|$))")
_JSON_HEADS = ('{"name":"', '[{"name":"')
_JSON_WRAPPERS = ('{"type":"function"', '[{"type":"function"', '{"function":{', '[{"function":{')
_JSON_NAME = re.compile(r'\[?\s*\{\s*"name"\s*:\s*"([^"]*)("?)')


class ToolTextFilter:
    """Text in, however it was cut; text to be spoken and calls out.

    Holds what may become a call until it is sure. At the beginning of an answer anything that is
    written like a call is one, later only what names a tool that there is. What turns out to be
    something else comes out unharmed.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._held = ""
        self._gap: str | None = ""
        """What separates calls, and the space before the first word; None: within text."""
        self._after_call = False
        self._at_start = True

    def feed(self, text: str) -> list[str | WrittenCall]:
        self._held += text
        return self._drain(final=False)

    def finish(self) -> list[str | WrittenCall]:
        """No more text comes."""
        out = self._drain(final=True)
        if self._gap and not self._after_call:
            out.append(self._gap)
        self._gap = ""
        return out

    def _drain(self, *, final: bool) -> list[str | WrittenCall]:
        out: list[str | WrittenCall] = []
        while self._held:
            if self._gap is not None:
                gap = _match(_GAP, self._held)
                self._gap += gap
                self._held = self._held[len(gap) :]
            candidate = _CANDIDATE.search(self._held)
            plain = candidate.start() if candidate else len(self._held)
            if plain:
                self._release(out, plain)
            elif self._held:
                verdict = self._judge(self._held, final)
                if isinstance(verdict, _Maybe):
                    break
                if verdict is None:
                    self._release(out, 1)
                else:
                    self._take(out, verdict)
        return out

    def _release(self, out: list[str | WrittenCall], length: int) -> None:
        text = (self._gap or "") + self._held[:length]
        if out and isinstance(out[-1], str):
            out[-1] += text
        else:
            out.append(text)
        self._held = self._held[length:]
        self._gap, self._at_start, self._after_call = None, False, False

    def _take(self, out: list[str | WrittenCall], found: _Found) -> None:
        self._held = self._held[found.length :]
        if found.calls:
            out += found.calls
            self._gap, self._after_call = "", True

    # What it is that begins with a bracket.

    def _judge(self, text: str, final: bool) -> _Verdict:
        if text[0] == "<":
            verdict = _judge_token(text, final)
        elif text[0] == "{" or (text[0] == "[" and text[1:].lstrip().startswith("{")):
            verdict = self._judge_json(text, final)
        else:
            verdict = self._judge_python(text, final)
        return None if final and isinstance(verdict, _Maybe) else verdict

    def _judge_python(self, text: str, final: bool) -> _Verdict:
        head = _PYTHON.match(text)
        assert head is not None
        name, space, opened = head[1] or "", head[2], head[3]
        if not opened:
            possible = self._is_name(name) if space and name else self._may_become_name(name)
            return _MAYBE if head.end() == len(text) and possible else None
        known = name in self._names
        if not name or not (known or (self._at_start and _KEYWORD.match(text, head.end()))):
            return None
        end = balanced_end(text, "'\"")
        if end is None:
            return _unfinished(text, known, final)
        try:
            return _Found(end, parse_python_calls(text[:end]))
        except NotACall:
            return _Found(end, [malformed(text[:end])]) if known else None

    def _judge_json(self, text: str, final: bool) -> _Verdict:
        head = re.sub(r"\s+", "", text[:200])
        heads = (*_JSON_HEADS, *_JSON_WRAPPERS)
        if not any(h.startswith(head) or head.startswith(h) for h in heads):
            return None
        named = _JSON_NAME.match(text)
        known = False
        if named is not None:
            known = bool(named[2]) and named[1] in self._names
            if not (known or (self._may_become_name(named[1]) and not named[2]) or self._at_start):
                return None
        end = balanced_end(text, '"')
        if end is None:
            return _unfinished(text, known, final)
        try:
            calls = parse_json_calls(text[:end])
        except NotACall:
            return _Found(end, [malformed(text[:end])]) if known else None
        if self._at_start or all(call.name in self._names for call in calls):
            return _Found(end, calls)
        return None

    def _is_name(self, name: str) -> bool:
        return self._at_start or name in self._names

    def _may_become_name(self, name: str) -> bool:
        return self._at_start or any(known.startswith(name) for known in self._names)


def _judge_token(text: str, final: bool) -> _Verdict:
    for token, closer in _CLOSERS.items():
        if text.startswith(token):
            end = closer.search(text, len(token))
            if end is None and not final and len(text) <= MAX_CALL_CHARACTERS:
                return _MAYBE
            inside = text[len(token) : end.start() if end else len(text)]
            return _Found(end.end() if end else len(text), _block(inside))
    stray = next((token for token in _STRAY if text.startswith(token)), None)
    if stray is not None:
        return _Found(len(stray))
    return _MAYBE if any(token.startswith(text) for token in _TOKENS) else None


def _block(inside: str) -> list[WrittenCall]:
    if not inside.strip():
        return []
    try:
        return parse_block(inside)
    except NotACall:
        return [malformed(inside)]


def _unfinished(text: str, known: bool, final: bool) -> _Verdict:
    if not final and len(text) <= MAX_CALL_CHARACTERS:
        return _MAYBE
    return _Found(len(text), [malformed(text)]) if known else None


def _match(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.match(text)
    return match[0] if match else ""
