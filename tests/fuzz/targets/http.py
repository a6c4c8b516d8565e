"""Requests to the real services that no well-meaning client would send."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from services.shared.media.encode import FileFormat
from services.shared.protocol.base import ERRORS, Error
from tests.fuzz import live
from tests.fuzz.source import Source
from tests.fuzz.target import Try, check
from tests.fuzz.targets.media import damaged, files, references
from tests.fuzz.values import json_text, text, value
from tests.fuzz.wire import Answer, exchange

_BOUNDARY = "fuzz"
_GLANCE_S = 0.05
_ANSWER_S = 15.0
_FINE = frozenset({501, 502, 503})
"""Not to be had, the engine failed (it was told to), too busy."""
_NO_METHOD = 405
"""Said by the framework, with a code of ours."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW", "post", "")
_PLACES = ("/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs", "/", "/v1", "*")

Request = tuple[str, str, str, bytes]
"""Method, path, content type, body."""


@contextmanager
def asr() -> Iterator[Try]:
    with live.asr() as watched:

        def attempt(source: Source) -> None:
            request = _transcribe(source) if not source.one_in(8) else _anywhere(source)
            _send(source, watched, request)

        yield attempt


@contextmanager
def tts() -> Iterator[Try]:
    with live.tts() as watched:

        def attempt(source: Source) -> None:
            kinds = (_synthesize, _synthesize, _clone, _voice, _lexicon, _anywhere)
            _send(source, watched, source.choice(kinds)(source))

        yield attempt


def _transcribe(source: Source) -> Request:
    fields = {
        "language": source.choice(("en", "vi", "xx", "", text(source, 1))),
        "word_timestamps": source.choice(("true", "false", "1", "perhaps")),
        "prompt": text(source, 3),
        "hotwords": text(source, 3),
        text(source, 1): "x",
    }
    file = source.choice(files())
    return "POST", "/v1/transcribe", *_form(source, fields, file)


def _clone(source: Source) -> Request:
    fields = {
        "name": source.choice(("Ada", text(source, 1))),
        "language": source.choice(("en-US", "xx", text(source, 1))),
        "consent": source.choice(("Ada agreed on 2026-11-01", text(source, 3))),
        "engine": source.choice(("fake", "piper", text(source, 1))),
    }
    return "POST", "/v1/voices", *_form(source, fields, source.choice(references()))


def _form(source: Source, fields: dict[str, str], file: bytes) -> tuple[str, bytes]:
    """multipart/form-data (RFC 7578) with some of the fields, some of them twice."""
    if source.one_in(2):
        file = damaged(source, file)
    name = "file" if not source.one_in(16) else text(source, 1)
    parts = [_part(name, file, f'; filename="{source.choice(("a.wav", "", "../x", "é"))}"')]
    for field, told in fields.items():
        if source.one_in(3):
            parts += [_part(field, told.encode("utf-8", "replace"))] * (1 + source.one_in(12))
    if source.one_in(12):
        parts.append(source.take(60))
    end = b"" if source.one_in(16) else f"--{_BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    if source.one_in(24):
        kind = source.choice(
            ("multipart/form-data", "multipart/form-data; boundary=" + "x" * 300, "text/plain")
        )
    return kind, b"".join(parts) + end


def _part(name: str, data: bytes, more: str = "") -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode("utf-8", "replace") + data + b"\r\n"


def _synthesize(source: Source) -> Request:
    fields: dict[str, Any] = {"text": text(source, 4)[:400]}
    if source.one_in(3):
        fields["voice"] = source.choice(("fake-en", "fake-vi", "nobody", text(source, 1)))
    if source.one_in(4):
        fields["language"] = source.choice(("en", "vi-VN", "de", text(source, 1)))
    if source.one_in(2):
        fields["format"] = source.choice([*FileFormat])
    if source.one_in(3):
        fields["sample_rate"] = source.choice((8000, 48_000, 44_100, 8001, 24_000))
    if source.one_in(4):
        fields["speed"] = source.choice((0.25, 4.0, 1.3))
    if source.one_in(4):
        fields["lexicon"] = {text(source, 1): text(source, 1)}
    body = json_text(source, fields, wrong_in=4).encode()
    return "POST", "/v1/synthesize", "application/json", body


def _voice(source: Source) -> Request:
    voice = quote(source.choice(("fake-en", "voice-1", text(source, 1))), safe="")
    method = source.choice(("GET", "PATCH", "DELETE"))
    sample = f"/sample?format={quote(source.choice(('wav', 'mp3', text(source, 1))))}"
    path = f"/v1/voices/{voice}{sample if source.one_in(3) else ''}"
    body = json_text(source, {"name": text(source, 1)}).encode() if method == "PATCH" else b""
    return method, path, "application/json", body


def _lexicon(source: Source) -> Request:
    language = quote(source.choice(("en-US", "vi", "xx", text(source, 1))), safe="")
    word = quote(source.choice(("SQL", "C++", text(source, 1))), safe="")
    method = source.choice(("PUT", "PUT", "GET", "DELETE"))
    path = f"/v1/lexicon/{language}" + (f"/{word}" if method != "GET" else "")
    say = source.choice(("sequel", "/ˈsiːkwəl/", text(source, 1)))
    return method, path, "application/json", json_text(source, {"say": say}, wrong_in=4).encode()


def _anywhere(source: Source) -> Request:
    path = source.choice((*_PLACES, "/" + quote(text(source, 1)), "/v1/" + text(source, 1)))
    body = json.dumps(value(source)).encode("utf-8", "replace") if source.one_in(2) else b""
    return (
        source.choice(_METHODS),
        path,
        source.choice(("application/json", "text/plain", "")),
        body,
    )


def _send(source: Source, watched: live.Watched, request: Request) -> None:
    method, path, kind, body = request
    path = "".join(each for each in path if each > " " and each != "\x7f")  # one line, one target
    headers = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", f"Content-Type: {kind}"]
    patient, data = True, body
    match source.below(24):
        case 20:
            headers.append(f"Content-Length: {len(body) + 100}")  # it waits for what never comes
            patient = False
        case 21:
            headers.append(f"Content-Length: {source.choice(('-1', 'x', '9' * 40, '0', '1, 2'))}")
            patient = False
        case 22:
            headers.append("Transfer-Encoding: chunked")
            data = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
            if source.one_in(2):
                data, patient = (
                    source.choice((b"zz\r\n", b"ffffffffffffffff\r\n", data[:-6])),
                    False,
                )
        case 23:
            headers.append(f"X-Odd: {text(source, 2)}".replace("\n", " ").replace("\r", " "))
            headers.append(f"Content-Length: {len(body)}")
        case _:
            headers.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(headers).encode("utf-8", "replace") + b"\r\n\r\n"
    cut = source.below(len(data) + 1)
    abort = source.one_in(24)
    wait_s = _ANSWER_S if patient else _GLANCE_S
    parts = [head, data[:cut], data[cut:]]
    answer = watched.run(exchange(watched.address, parts, wait_s, abort=abort))
    check(answer.ended or abort or not patient, f"no end of an answer to {method} {path}")
    _check_answer(answer, method)
    watched.unharmed()


def _check_answer(answer: Answer, method: str) -> None:
    """No fault of ours, and every refusal in the one shape."""
    status = answer.status
    if status is None:
        return
    check(status < 500 or status in _FINE, f"HTTP {status}: {answer.data[:300]!r}")
    is_json = b"content-type: application/json" in answer.header.lower()
    if status >= 400 and is_json and method != "HEAD":
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", answer.header)
        # Behind it the server may complain of what is left of a broken request.
        body = answer.body[: int(length[1])] if length else answer.body
        error = Error.model_validate_json(body)
        due = ERRORS[error.code].http_status
        check(status in (due, _NO_METHOD), f"{error.code.value} with {status}, not {due}")
