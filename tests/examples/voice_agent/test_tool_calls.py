"""Calls are found however the stream was cut, and everything else is spoken as it was written."""

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from examples.voice_agent.tool_calls import AssembledCall, ToolCallAssembler, ToolTextFilter
from examples.voice_agent.tool_syntax import MALFORMED, WrittenCall

NAMES = ("customer_lookup", "end_call", "send_dtmf")

SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=15)
VALUES = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
ARGUMENTS = st.dictionaries(st.sampled_from(["a", "phone_number", "reason"]), VALUES, max_size=3)
CALLS = st.lists(st.tuples(st.sampled_from(NAMES), ARGUMENTS), min_size=1, max_size=3)
CUTS = st.lists(st.integers(0, 1000), max_size=20)
WORDS = st.text(st.sampled_from("ab [](){}<|>=\"':,._/name\n"), max_size=60)


def _pieces(text: str, cuts: list[int]) -> list[str]:
    at = sorted({0, *(cut % (len(text) + 1) for cut in cuts), len(text)})
    return [text[a:b] for a, b in zip(at, at[1:], strict=False)]


def _read(pieces: list[str], names: tuple[str, ...] = NAMES) -> tuple[str, list[WrittenCall]]:
    found = ToolTextFilter(names)
    out = [part for piece in pieces for part in found.feed(piece)] + found.finish()
    spoken = "".join(part for part in out if isinstance(part, str))
    return spoken, [part for part in out if isinstance(part, WrittenCall)]


def test_a_call_without_an_end_costs_little_token_by_token() -> None:
    found, began = ToolTextFilter(NAMES), time.thread_time()
    for piece in _pieces("[end_call(reason='" + "and so on " * 1600, list(range(0, 16_000, 4))):
        assert found.feed(piece) == []
    assert time.thread_time() - began < 1.0  # 0.2 s; a step a character took 1.7 s


def _pythonic(calls: list[tuple[str, dict[str, Any]]]) -> str:
    inner = (f"{n}({', '.join(f'{k}={v!r}' for k, v in a.items())})" for n, a in calls)
    return f"[{', '.join(inner)}]"


def _json(calls: list[tuple[str, dict[str, Any]]]) -> str:
    return "; ".join(json.dumps({"name": n, "parameters": a}) for n, a in calls)


def _json_list(calls: list[tuple[str, dict[str, Any]]]) -> str:
    return json.dumps([{"type": "function", "name": n, "arguments": a} for n, a in calls], indent=1)


def _in_tokens(calls: list[tuple[str, dict[str, Any]]]) -> str:
    return f"<|python_start|>{_pythonic(calls)}<|python_end|><|eom|>"


def _hermes(calls: list[tuple[str, dict[str, Any]]]) -> str:
    blocks = (json.dumps({"name": n, "arguments": a}) for n, a in calls)
    return "\n".join(f"<tool_call>\n{block}\n</tool_call>" for block in blocks)


@pytest.mark.parametrize("write", [_pythonic, _json, _json_list, _in_tokens, _hermes])
@given(calls=CALLS, cuts=CUTS, before=st.sampled_from(["", "\n", "One moment. "]))
def test_calls_are_found_and_never_spoken(
    write: Any, calls: list[tuple[str, dict[str, Any]]], cuts: list[int], before: str
) -> None:
    spoken, found = _read(_pieces(before + write(calls), cuts))
    assert found == [WrittenCall(name, arguments) for name, arguments in calls]
    assert spoken == before.lstrip("\n")


@given(text=WORDS, cuts=CUTS)
@example(text="[", cuts=[])
@example(text='{"name": "Bob"}', cuts=[3, 9])
@example(text="[name(a)]", cuts=[1, 5])
def test_the_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    assert _read(_pieces(text, cuts), ("name", "a")) == _read([text], ("name", "a"))


@given(text=WORDS, cuts=CUTS)
def test_text_without_a_call_is_unharmed(text: str, cuts: list[int]) -> None:
    spoken, found = _read(_pieces(text, cuts))
    if not found:
        assert spoken == text


@pytest.mark.parametrize(
    "text",
    [
        "[laughs] Of course.",
        "Press [1] or [2], then {enter}.",
        "[see note (a)] and so on",
        '{"name": "Bob", "age": 3} is an example',
        "I can use end_call(reason) but will not",
        "a < b <| c <|pyth",
        "[unknown(x=1",
        "  leading space stays",
        " \n",
        "[customer",
        "Sure [other_tool(x=1)] it is",
    ],
)
def test_what_only_looks_like_a_call_is_released(text: str) -> None:
    for cuts in ([], list(range(len(text)))):
        assert _read(_pieces(text, cuts)) == (text, [])


def test_text_is_not_held_longer_than_it_has_to_be() -> None:
    found = ToolTextFilter(NAMES)
    assert found.feed("Hello, ") == ["Hello, "]
    assert found.feed("[") == []
    assert found.feed("l") == ["[l"]  # no tool's name begins so
    assert found.feed("aughs] [c") == ["aughs] "]
    assert found.feed("ough]") == ["[cough]"]


def test_at_the_beginning_a_tool_that_there_is_not_is_a_call_too() -> None:
    assert _read(['[get_weather(city="Hue")]']) == (
        "",
        [WrittenCall("get_weather", {"city": "Hue"})],
    )


def test_text_after_a_call_is_spoken() -> None:
    assert _read(["[end_call()]\n\nGood", "bye."]) == (
        "\n\nGoodbye.",
        [WrittenCall("end_call", {})],
    )


@pytest.mark.parametrize(
    "text",
    [
        '[customer_lookup(phone_number="+84',
        "[customer_lookup(phone_number=0901234567)]",
        "[customer_lookup(__import__('os').system('true'))]",
        "[customer_lookup(a=open('/etc/passwd').read())]",
        "[customer_lookup(a=f'{1}')]",
        "[customer_lookup(a=b'x')]",
        "[customer_lookup(**{'a': 1})]",
        "[customer_lookup(a=1).b(c=2)]",
        '{"name": "customer_lookup", "parameters": {"a": ',
        "<|python_start|>customer_lookup(print(1))<|python_end|>",
    ],
)
def test_a_broken_call_is_reported_and_never_spoken_nor_run(text: str) -> None:
    spoken, found = _read([text])
    assert spoken == ""
    assert [(call.name, list(call.arguments)) for call in found] == [
        ("customer_lookup", [MALFORMED])
    ]


def test_words_of_json_in_python() -> None:
    text = "[end_call(a=true, b=null, c=-1.5, d=[False, {'x': None}])]"
    arguments = {"a": True, "b": None, "c": -1.5, "d": [False, {"x": None}]}
    assert _read([text]) == ("", [WrittenCall("end_call", arguments)])


@pytest.mark.parametrize("depth", [100, 5000])
def test_absurd_nesting_is_refused(depth: int) -> None:
    spoken, found = _read([f"[end_call(a={'[' * depth}{']' * depth})]"])
    assert spoken == "" and len(found) == 1


def test_what_is_held_is_bounded() -> None:
    found = ToolTextFilter(NAMES)
    out = [part for _ in range(3) for part in found.feed("[unknown(a=" + "x" * 10_000)]
    assert "".join(str(part) for part in out).startswith("[unknown(a=xxx")


# Fragments.


def _fragments(
    calls: list[tuple[str, dict[str, Any]]], cuts: list[int]
) -> list[list[dict[str, Any]]]:
    chunks = []
    for index, (name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        chunks.append(
            [{"index": index, "id": f"c{index}", "type": "function", "function": function}]
        )
        pieces = _pieces(json.dumps(arguments), cuts)
        chunks += [[{"index": index, "function": {"arguments": piece}}] for piece in pieces]
    return chunks


@given(calls=CALLS, cuts=CUTS, interleave=st.randoms(use_true_random=False))
def test_fragments_are_assembled(
    calls: list[tuple[str, dict[str, Any]]], cuts: list[int], interleave: Any
) -> None:
    queues = [_fragments([call], cuts) for call in calls]
    for index, queue in enumerate(queues):
        for chunk in queue:
            chunk[0]["index"] = index
    assembler = ToolCallAssembler()
    for queue in queues:
        assembler.feed(queue.pop(0))
    while any(queues):
        assembler.feed(interleave.choice([queue for queue in queues if queue]).pop(0))
    assert [(c.name, c.arguments) for c in assembler.finish()] == calls
    assert assembler.finish() == []


def _function(name: str, arguments: str = "{}") -> dict[str, str]:
    return {"name": name, "arguments": arguments}


@pytest.mark.parametrize(
    "chunks",
    [
        # Everything at once, without an index.
        [[{"id": "1", "function": _function("a")}, {"id": "2", "function": _function("b")}]],
        # Always index 0, but another id.
        [
            [{"index": 0, "id": "1", "function": _function("a")}],
            [{"index": 0, "id": "2", "function": _function("b")}],
        ],
        # Id and name in every fragment.
        [
            [{"index": 0, "id": "1", "function": _function("a", "{")}],
            [{"index": 0, "id": "1", "function": _function("a", "}")}],
            [{"index": 1, "id": "2", "function": {"name": "b", "arguments": None}}],
        ],
    ],
)
def test_ways_of_servers(chunks: list[list[dict[str, Any]]]) -> None:
    assembler = ToolCallAssembler()
    for chunk in chunks:
        assembler.feed(chunk)
    assert assembler.finish() == [AssembledCall("1", "a", {}), AssembledCall("2", "b", {})]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        ("null", {}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": ', {MALFORMED: '{"a": '}),
        ("[1]", {MALFORMED: "[1]"}),
    ],
)
def test_arguments_as_servers_write_them(text: str, arguments: dict[str, Any]) -> None:
    assembler = ToolCallAssembler()
    assembler.feed([{"index": 0, "id": "1", "function": _function("a", text)}])
    assert assembler.finish() == [AssembledCall("1", "a", arguments)]


def test_fragments_are_bounded() -> None:
    assembler = ToolCallAssembler()
    for index in range(100):
        assembler.feed([{"index": index, "id": str(index), "function": _function("a")}])
    for _ in range(100):
        assembler.feed([{"index": 0, "function": {"arguments": "x" * 10_000}}])
    calls = assembler.finish()
    assert len(calls) == 32
    assert calls[0].arguments == {MALFORMED: "too long"}
