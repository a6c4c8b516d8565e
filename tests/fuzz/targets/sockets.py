"""Connections to the real services that no well-meaning client would make."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from services.asr.messages import server_codec as asr_codec
from services.tts.messages import server_codec as tts_codec
from tests.fuzz import live
from tests.fuzz.source import Source
from tests.fuzz.target import Try, check
from tests.fuzz.targets import asr_messages, tts_messages
from tests.fuzz.values import text
from tests.fuzz.wire import BINARY, CLOSE, PING, PONG, TEXT, Answer, bomb, exchange, frame, told
from tests.services.asr.sounds import encoded, opus_packets, pcm, tone

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_END_S = 10.0
"""Within this a service ends what its client has ended."""
_GLANCE_S = 0.02
_INTERNAL = 1011
_BOMB = bomb(64 << 20)
_SUBPROTOCOLS = (
    "voice",
    "voice, key",
    "voice,",
    ",",
    "x" * 5000,
    "voice, voice, voice",
    "\x7f",
    "é",
)
_QUERIES = (
    "",
    "?",
    "?a=b",
    "?session_id=",
    "?session_id=%00",
    "?last_event=1",
    "?session_id=a&session_id=b",
)


def _sounds() -> tuple[bytes, ...]:
    return (
        pcm(tone(400, 600)),
        bytes(16_000),
        b"",
        b"\x01",
        bytes(200_000),
        opus_packets(tone(400, 60))[0],
        encoded(tone(400, 200), "webm", "libopus"),
    )


@contextmanager
def asr() -> Iterator[Try]:
    with live.asr() as watched:
        sounds = _sounds()

        def attempt(source: Source) -> None:
            _connect(source, watched, "/v1/stream/asr", asr_messages.message_text, sounds)

        yield attempt


@contextmanager
def tts() -> Iterator[Try]:
    with live.tts() as watched:

        def attempt(source: Source) -> None:
            _connect(
                source, watched, "/v1/stream/tts", tts_messages.message_text, (b"", b"\0" * 320)
            )

        yield attempt


@contextmanager
def resuming() -> Iterator[Try]:
    """One ASR session over several connections, which are lost in every way."""
    with live.asr() as watched:
        sounds = _sounds()

        def attempt(source: Source) -> None:
            first = [frame(TEXT, json.dumps({"type": "start", "resumable": True}).encode())]
            answer = _part_of_session(source, watched, "", first, sounds)
            found = re.search(rb'"session_id":"(\w+)"', answer.data)
            session = found[1].decode() if found else "none"
            for _ in range(1 + source.below(4)):
                event = source.choice((0, 1, 2, source.below(1 << 16)))
                query = f"?session_id={session}&last_event={event}"
                answer = _part_of_session(source, watched, query, [], sounds)
            stop = [frame(TEXT, b'{"type":"stop"}'), frame(CLOSE, (1000).to_bytes(2, "big"))]
            query = f"?session_id={session}"
            work = exchange(
                watched.address,
                [_upgrade(source, f"/v1/stream/asr{query}", odd=False), *stop],
                _END_S,
                shake_hands=True,
            )
            check(watched.run(work).ended, "the service does not end what its client has ended")
            watched.unharmed()

        yield attempt


def _part_of_session(
    source: Source,
    watched: live.Watched,
    query: str,
    first: list[bytes],
    sounds: tuple[bytes, ...],
) -> Answer:
    """A connection that carries a few messages and is then lost, sometimes at once."""
    path = f"/v1/stream/asr{query}"
    parts = [_upgrade(source, path, odd=False), *first]
    for _ in range(source.below(6)):
        parts.append(_frames(source, asr_messages.message_text, sounds, 100))
    abort = source.one_in(2)
    answer = watched.run(
        exchange(watched.address, parts, _GLANCE_S, abort=abort, shake_hands=not source.one_in(8))
    )
    _check_answer(answer, "/v1/stream/asr")
    return answer


def _connect(
    source: Source,
    watched: live.Watched,
    path: str,
    message_text: Callable[[Source, int], str],
    sounds: tuple[bytes, ...],
) -> None:
    """One connection from its first byte to its end."""
    wrong_in = source.choice((2, 10, 1000))  # most messages are right in most sessions
    parts = [_upgrade(source, path)]
    for _ in range(source.below(16)):
        parts.append(_frames(source, message_text, sounds, wrong_in))
    ending = source.below(8)
    if ending < 5:
        parts.append(frame(CLOSE, (1000).to_bytes(2, "big")))
    elif ending == 5:
        parts.append(frame(CLOSE, source.take(source.below(130))))
    # Who sends before the handshake is answered is heard when more comes, or a pong.
    patient = ending < 5 and not source.one_in(32)
    wait_s = _END_S if patient else _GLANCE_S
    work = exchange(watched.address, parts, wait_s, abort=ending == 7, shake_hands=patient)
    answer = watched.run(work)
    check(answer.ended or not patient, "the service does not end what its client has ended")
    _check_answer(answer, path)
    watched.unharmed()


def _upgrade(source: Source, path: str, *, odd: bool = True) -> bytes:
    """The request for a WebSocket; `odd`: with something wrong in it now and then."""
    headers = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": _KEY,
        "Sec-WebSocket-Version": "13",
    }
    if not odd:
        return _request(path, headers)
    if source.one_in(4):
        headers["Sec-WebSocket-Extensions"] = "permessage-deflate; client_max_window_bits"
    if source.one_in(6):
        headers["Sec-WebSocket-Protocol"] = source.choice(_SUBPROTOCOLS)
    if source.one_in(8):
        headers["Authorization"] = source.choice(
            ("Bearer", "Bearer \xff", "Basic QQ==", "x" * 9000)
        )
    if source.one_in(12):
        headers[source.choice(list(headers))] = text(source, 2).replace("\n", " ").replace("\r", "")
    if source.one_in(24):
        del headers[source.choice(list(headers))]
    query = source.choice(_QUERIES) if source.one_in(6) else ""
    if source.one_in(8):
        event = source.choice(("0", "-1", "1e9", "9" * 400, "%FF", "true"))
        query = f"?session_id={quote(text(source, 1))}&last_event={event}"
    return _request(path + query, headers)


def _request(target: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {told}" for name, told in headers.items())]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n"


def _frames(
    source: Source,
    message_text: Callable[[Source, int], str],
    sounds: tuple[bytes, ...],
    wrong_in: int,
) -> bytes:
    """One message, mostly whole."""
    kind = source.below(16)
    if kind < 6:
        return frame(TEXT, message_text(source, wrong_in).encode())
    if kind < 10:
        return frame(BINARY, source.choice(sounds))
    if kind == 10:  # in fragments, with a ping between them
        whole = message_text(source, wrong_in).encode()
        cut = source.below(len(whole) + 1)
        ping = frame(PING, b"!") if source.one_in(2) else b""
        return frame(TEXT, whole[:cut], fin=False) + ping + frame(0, whole[cut:])
    if kind == 11:
        return frame(PING, source.take(source.below(125))) * source.choice((1, 20, 500))
    if kind == 12:
        return frame(PONG, source.take(8))
    if not source.one_in(wrong_in):
        return frame(BINARY, source.take(64))
    return _wrong_frame(source)


def _wrong_frame(source: Source) -> bytes:
    match source.below(10):
        case 0:
            return frame(TEXT, b"\xff\xfe" + source.take(8))
        case 1:
            return frame(TEXT, _BOMB, reserved=4)
        case 2:
            return frame(3 + source.below(13), source.take(8))
        case 3:
            return frame(BINARY, source.take(8), masked=False)
        case 4:
            return frame(
                BINARY, b"", length=source.choice((1 << 62, 1 << 63, (1 << 64) - 1, 5 << 20))
            )
        case 5:
            return frame(0, source.take(8))
        case 6:
            return frame(BINARY, b"a", fin=False) * 2
        case 7:
            return frame(PING, bytes(126))
        case 8:
            return source.take(40)
        case _:
            return frame(TEXT, b"x" * ((1 << 20) + 1))


def _check_answer(answer: Answer, path: str) -> None:
    """No fault of ours, and nothing that a typed client could not read."""
    status = answer.status
    check(status is None or status < 500 or status == 503, f"HTTP {status}: {answer.data[:200]!r}")
    if status != 101:
        return
    said = told(answer.body)
    check(said.close != _INTERNAL, f"closed with 1011: {said.texts[-1:]}")
    codec = asr_codec() if path.endswith("asr") else tts_codec()
    for each in said.texts:
        codec.decode(each)
