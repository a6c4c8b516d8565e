"""Text, values and JSON of the kinds that parsers stumble over."""

import json
from typing import Any

from tests.fuzz.source import Source

WORDS = (
    "hello",
    "Yes.",
    "the",
    "I'm",
    "Nguyễn",
    "phở bò",
    "Dr.",
    "e.g.",
    "U.S.A.",
    "No. 5",
    "$3.50",
    "€1.234.567,89",
    "12/31/1999",
    "31.12.",
    "1999-02-30",
    "25:61",
    "10:30 p.m.",
    "+49 (0)30 / 123-456",
    "0" * 30,
    "9" * 400,
    "1e999",
    "-0",
    "½",
    "٣٤٥",
    "三千",
    "Ⅻ",
    "²³",
    "1,2,3,4,5",
    "v1.2.3-rc.4",
    "192.168.0.1",
    "http://a.b/c?d=e#f",
    "x@y.z",
    "**bold**",
    "`code`",
    "# head",
    "[a](b)",
    "| a | b |",
    "```",
    "- ",
    "1. ",
    "<break time='1s'/>",
    "</speak>",
    "[[wɪn]]",
    "/wɪn/",
    "FAIL",
    "CRASH",
    "👩‍👩‍👧‍👦",
    "🇻🇳",
    "\u200b",
    "\u202e",
    "\ufeff",
    "e\u0301" * 3,
    "a" + "\u0300" * 200,
    "\ufdfa",
    "ß",
    "İ",
    "ﬁ",
    "\x00",
    "\x1b[31m",
    "\r\n",
    "\u2028",
    "\n\n",
    "…",
    "?!",
    "。",
    "،",
    "'" * 20,
    '"',
    "(" * 40,
    "a" * 3000,
    "ab-" * 300,
    "{",
    "}",
    "%s%n",
    "../../x",
    "\U0010ffff",
)
SEPARATORS = (" ", "", "\n", ". ", ", ", "\t", "-", "\u00a0")
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    -(2**64),
    10**400,
    0.1,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    "",
    "0",
    "true",
    "null",
    "NaN",
    "\x00",
    "\ud800",
    "😀",
    [],
    {},
    [None],
    {"": None},
    [[]],
    "x" * 5000,
)


def text(source: Source, most_words: int = 12) -> str:
    """Words that are hard to read, in any order."""
    parts: list[str] = []
    for _ in range(source.below(most_words + 1)):
        if source.one_in(8):
            parts.append(source.take(source.below(24)).decode("utf-8", "replace"))
        else:
            parts.append(source.choice(WORDS))
        parts.append(source.choice(SEPARATORS))
    return "".join(parts)


def value(source: Source, depth: int = 3) -> Any:
    """Any JSON value, and some that are none."""
    kind = source.below(8)
    if kind == 7 and depth:
        return [value(source, depth - 1) for _ in range(source.below(4))]
    if kind == 6 and depth:
        return {text(source, 1): value(source, depth - 1) for _ in range(source.below(4))}
    if kind == 5:
        return text(source)
    if kind == 4:
        return source.below(1 << 16) / 7
    return source.choice(ODD)


def mutated(source: Source, fields: dict[str, Any]) -> dict[str, Any]:
    """The object with something wrong in it, here or deeper."""
    fields = dict(fields)
    names = list(fields)
    kind = source.below(6)
    if kind == 0 or not names:
        fields[text(source, 1)] = value(source)
        return fields
    name = source.choice(names)
    if kind == 1:
        del fields[name]
    elif kind == 2 and isinstance(fields[name], dict):
        fields[name] = mutated(source, fields[name])
    elif kind == 3:
        fields[name + source.choice(("", " ", "\x00", "s", "\ud800"))] = fields.pop(name)
    elif kind == 4:
        fields = {name: fields[name] for name in reversed(names)}
    else:
        fields[name] = value(source)
    return fields


def json_text(source: Source, fields: dict[str, Any], wrong_in: int = 2) -> str:
    """The object as text; once in `wrong_in` times with something wrong in it, or no object at all.

    Always such as can travel in a WebSocket's text frame, whose bytes are UTF-8.
    """
    kind = 8 + source.below(8)
    if not source.one_in(wrong_in):
        written = json.dumps(fields, ensure_ascii=source.one_in(2))
    elif kind < 12:
        written = json.dumps(mutated(source, fields), ensure_ascii=source.one_in(2))
    else:
        written = _broken(source, json.dumps(fields), kind)
    return written.encode("utf-8", "replace").decode()


def _broken(source: Source, written: str, kind: int) -> str:
    if kind == 12:  # a key twice
        return '{"type":' + json.dumps(value(source)) + "," + written[1:]
    if kind == 13:
        at = source.below(len(written) + 1)
        return written[:at] + source.take(source.below(8)).decode("latin-1") + written[at:]
    if kind == 14:
        return written[: source.below(len(written) + 1)]
    depth = source.choice((3, 100, 300, 20_000))
    whole: str = source.choice(
        (
            "[" * depth,
            '{"a":' * depth,
            "[" * depth + "]" * depth,
            '{"type":' * depth + "1" + "}" * depth,
            '{"type":"start","a":' + "[" * depth + "]" * depth + "}",
            "1" * depth,
            '{"type":"start","sample_rate":1' + "0" * depth + "}",
            '{"type":"start","speed":-Infinity}',
            '"' + "\\" * depth,
            '{"type":"text","text":"\\ud800"}',
            '{"type":"text","text":"\\udc00\\ud800"}',
            "\ufeff{}",
            "",
            "null",
            source.take(64).decode("latin-1"),
            source.take(64).decode("utf-8", "replace"),
        )
    )
    return whole
