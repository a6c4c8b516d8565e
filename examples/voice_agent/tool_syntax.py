"""Tool calls that a model writes as text instead of calling: what they look like, what they say.

Llama 4 is trained to write `[name(argument="value")]`, Llama 3 `{"name": …, "parameters": …}`, both
at times within special tokens; Qwen and Hermes write JSON within `<tool_call>`. Servers parse most
of them, and hand the rest on as text. Nothing here is ever evaluated: arguments are literals.
"""

import ast
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MALFORMED = "__malformed__"
"""The only argument of a call that could not be read; its value is what was written. No tool takes
it, so the model is told."""
MAX_CALL_CHARACTERS = 16_384

_BARE_WORDS = {"true": True, "false": False, "null": None, "none": None}
_OPENERS = "([{"
_CLOSERS = ")]}"
_MARK = re.compile(r"""[(\[{)\]}'"\\]""")
_SEPARATOR = re.compile(r"[\s;,]*")
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}")


@dataclass(frozen=True, slots=True)
class WrittenCall:
    name: str
    arguments: Mapping[str, Any]


class NotACall(ValueError):
    """The text is something else, or it cannot be read."""


def malformed(text: str) -> WrittenCall:
    """A call that was begun, but is broken."""
    name = _NAME.search(text.replace('"name"', "").replace('"type"', "").replace("function", ""))
    return WrittenCall(name[0] if name else "unknown", {MALFORMED: text[:500]})


def parse_block(text: str) -> list[WrittenCall]:
    """What stands between special tokens: one or more calls in any of the notations.

    Raises:
        NotACall
    """
    text = text.strip()
    if text.startswith(("{", "[{")) or re.match(r"\[\s*\{", text):
        return parse_json_calls(text)
    return parse_python_calls(text)


def parse_python_calls(text: str) -> list[WrittenCall]:
    """`[a(x=1), b()]`, also without the brackets.

    Raises:
        NotACall: a positional argument, a value that is no literal, anything else.
    """
    if len(text) > MAX_CALL_CHARACTERS:
        raise NotACall("too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # '\d' in a string
            warnings.simplefilter("ignore", DeprecationWarning)  # the same in Python 3.11
            body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NotACall("not Python") from None
    nodes = body.elts if isinstance(body, ast.List | ast.Tuple) else [body]
    if not nodes:
        raise NotACall("empty")
    return [_python_call(node) for node in nodes]


def _python_call(node: ast.expr) -> WrittenCall:
    if not isinstance(node, ast.Call) or node.args:
        raise NotACall("not a call with keywords")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise NotACall("** is no argument")
        arguments[keyword.arg] = _literal(keyword.value)
    return WrittenCall(_dotted(node.func), arguments)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise NotACall("not a name")


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id.lower() in _BARE_WORDS:
        return _BARE_WORDS[node.id.lower()]
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {
            _key(key): _literal(value) for key, value in zip(node.keys, node.values, strict=True)
        }
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise NotACall("not a literal") from None
    if not isinstance(value, str | int | float | bool | None):
        raise NotACall("not a value that JSON knows")
    return value


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise NotACall("a key is no string")


def parse_json_calls(text: str) -> list[WrittenCall]:
    """`{"name": "a", "parameters": {…}}`, several after one another, or a list of them.

    Raises:
        NotACall
    """
    if len(text) > MAX_CALL_CHARACTERS:
        raise NotACall("too long")
    calls: list[WrittenCall] = []
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise NotACall("not JSON") from None
        calls += [_json_call(item) for item in (value if isinstance(value, list) else [value])]
        separator = _SEPARATOR.match(text, at)
        at = separator.end() if separator else at
    if not calls:
        raise NotACall("empty")
    return calls


def _json_call(item: object) -> WrittenCall:
    if not isinstance(item, dict):
        raise NotACall("not an object")
    function = item.get("function")
    value: dict[str, Any] = function if isinstance(function, dict) else item
    name = value.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise NotACall("without a name")
    if "parameters" not in value and "arguments" not in value:
        raise NotACall("without arguments")
    return WrittenCall(name, _json_arguments(value.get("parameters", value.get("arguments"))))


def _json_arguments(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, str):
        return read_arguments(value)
    if not isinstance(value, dict):
        raise NotACall("arguments are no object")
    return value


def read_arguments(text: str) -> dict[str, Any]:
    """The arguments of a call, as the API sends them: JSON; or :data:`MALFORMED`."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
        if isinstance(value, str):  # encoded twice
            value = json.loads(value)
    except (ValueError, RecursionError):
        return {MALFORMED: text[:500]}
    if value is None:
        return {}
    return value if isinstance(value, dict) else {MALFORMED: text[:500]}


def balanced_end(text: str, quotes: str) -> int | None:
    """Where the bracket that `text` begins with is closed; None: not yet.

    Args:
        quotes: characters that quote; within them brackets do not count.
    """
    depth, quote, escaped = 0, "", -1
    for found in _MARK.finditer(text):  # token by token a long call is looked at again and again
        at, character = found.start(), found[0]
        if at == escaped:
            continue
        if quote:
            if character == "\\":
                escaped = at + 1
            elif character == quote:
                quote = ""
        elif character in quotes:
            quote = character
        elif character in _OPENERS:
            depth += 1
        elif character in _CLOSERS:
            depth -= 1
            if depth == 0:
                return at + 1
    return None
