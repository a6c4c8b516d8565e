"""What language models' servers stream: events, deltas, tool calls as objects and as text."""

import json
from typing import Any

from examples.voice_agent.chat_stream import ChatStream, refusal
from examples.voice_agent.ports import AnswerEnd, LanguageModelError, TextDelta, ToolCall
from examples.voice_agent.sse import SseDecoder, SseError
from examples.voice_agent.tool_calls import ToolTextFilter
from examples.voice_agent.tool_syntax import WrittenCall
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.values import mutated, text, value

_TOOLS = ("book", "transfer_call", "a.b", "f")
_PIECES = (
    "[book(",
    "day='Mon'",
    ", ",
    ")]",
    '{"name": "book", ',
    '"parameters": {"a": 1}}',
    '"arguments": "{}"}',
    '[{"name":"f","parameters":{}}]',
    '{"type":"function","function":{"name":"f","parameters":null}}',
    "<tool_call>",
    "</tool_call>",
    "<|python_start|>",
    "<|python_end|>",
    "<|python_tag|>",
    "<|eot_id|>",
    "[",
    "{",
    "}",
    "]",
    "(",
    "'",
    '"',
    "\\",
    "<",
    "a.b(x=[1,{'k':True}])",
    "f(x=-1j)",
    "f(x=1e999)",
    "f(**a)",
    "f(x=" + "(" * 300,
    "f(x=" + "-" * 2000 + "1)]",
    "f(x='\\N{BELL}\\ud800')",
    "Hello. ",
    " ",
    "\n",
    "\x00",
    "-1 + ",
)


def sse(source: Source) -> None:
    """However the bytes are cut, the events are the same."""
    lines = (b"data: ", b"data:", b"\n", b"\r\n", b"\r", b":", b"event: x\n", b"\xff\xfe", b"\xf0")
    data = b"".join(source.take(6) if source.one_in(3) else source.choice(lines) for _ in range(40))
    data = source.choice((b"", b"\xef\xbb\xbf")) + data
    whole, cut, at = SseDecoder(), SseDecoder(), 0
    events: list[str] = []
    while at < len(data):
        size = 1 + source.below(12)
        events += cut.feed(data[at : at + size])
        at += size
    events += cut.finish()
    check(events == [*whole.feed(data), *whole.finish()], "events depend on how bytes are cut")


def tool_text(source: Source) -> None:
    """However the text is cut, the calls are the same; what is no call comes out unharmed."""
    written = "".join(
        text(source, 1) if source.one_in(4) else source.choice(_PIECES)
        for _ in range(source.below(14))
    )
    parts, at = ToolTextFilter(_TOOLS), 0
    out: list[str | WrittenCall] = []
    while at < len(written):
        size = 1 + source.below(60)
        out += parts.feed(written[at : at + size])
        at += size
    out += parts.finish()
    spoken = "".join(part for part in out if isinstance(part, str))
    calls = [part for part in out if isinstance(part, WrittenCall)]
    check(len(spoken) <= len(written), "more is spoken than was written")
    marks = ("<|", "</tool_call>", "<tool_call>")
    check(bool(calls) or any(m in written for m in marks) or spoken == written, "text was lost")
    for call in calls:
        json.dumps(dict(call.arguments))


def chat_stream(source: Source) -> None:
    """Whatever a server sends: deltas of the known kinds, or an error that says why."""
    stream = ChatStream(_TOOLS)
    try:
        deltas = []
        for _ in range(source.below(12)):
            deltas += stream.feed(_bytes(source))
        deltas += stream.finish()
    except LanguageModelError as error:
        check(0 < len(str(error)) < 600, "an error without an end")
        return
    except SseError as error:
        raise AssertionError("an error of the inside") from error
    check(isinstance(deltas[-1], AnswerEnd), "an answer without its end")
    for delta in deltas[:-1]:
        check(isinstance(delta, TextDelta | ToolCall), f"{delta!r} within an answer")
        check(not isinstance(delta, TextDelta) or type(delta.text) is str, f"{delta!r} is no text")


def refusals(source: Source) -> None:
    """The bodies of answers that are no 200."""
    body = json.dumps(value(source)).encode("utf-8", "replace")
    if source.one_in(3):
        body = source.take(40)
    error = refusal(source.choice((400, 401, 404, 429, 500, 503)), body)
    check(0 < len(str(error)) < 600, "an error without an end")


def _bytes(source: Source) -> bytes:
    kind = source.below(8)
    if kind == 7:
        return source.take(30)
    if kind == 6:
        return b"data: [DONE]\n\n"
    chunk = _chunk(source)
    if kind == 5:
        chunk = mutated(source, chunk)
    data = b"data: " + json.dumps(chunk).encode("utf-8", "replace") + b"\n\n"
    return data[: source.below(len(data))] if source.one_in(16) else data


def _chunk(source: Source) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant"}
    if source.one_in(2):
        delta["content"] = source.choice(_PIECES) if source.one_in(2) else value(source)
    if source.one_in(3):
        delta["tool_calls"] = [_fragment(source) for _ in range(1 + source.below(2))]
    choice: dict[str, Any] = {"index": 0, "delta": delta}
    if source.one_in(8):
        choice["finish_reason"] = source.choice(("stop", "tool_calls", "length"))
    if source.one_in(8):
        choice = mutated(source, choice)
    chunk: dict[str, Any] = {"choices": [choice]}
    if source.one_in(8):
        chunk["usage"] = value(source) if source.one_in(2) else {"prompt_tokens": value(source)}
    if source.one_in(16):
        chunk["error"] = value(source)
    return chunk


def _fragment(source: Source) -> Any:
    fragment: dict[str, Any] = {
        "index": source.choice((0, 1, 0, None, "0", -1, 10**9, True)),
        "id": source.choice(("c1", "", None, 7)),
        "function": {
            "name": source.choice(("book", "", None, "f")),
            "arguments": source.choice(('{"a":', "1}", "", None, {}, '"{}"', "[" * 9000, "NaN")),
        },
    }
    return mutated(source, fragment) if source.one_in(4) else fragment
