"""Whatever a client sends over the WebSocket: a code, a sentence that helps, an unharmed server."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.asr.messages import Final
from services.shared.protocol.base import ERRORS, Error, ErrorCode
from services.shared.runtime.config import LimitsConfig, ServerConfig
from tests.services.asr.client import Caller, recognise, session
from tests.services.asr.conftest import Start
from tests.services.asr.sounds import joined, pcm, silence, tone
from tests.services.serving import LiveService, eventually

SECOND = pcm(tone(400, 1000))
TURN = pcm(joined(tone(400, 1000), silence(900)))


async def unharmed(service: LiveService) -> None:
    """A good session works, and nothing is left of the bad one."""
    caller = await recognise(service.ws, TURN)
    assert caller.text.split()[:5] == ["w4"] * 5
    await eventually(lambda: service.lifecycle.sessions == 0)
    for owner in service.lifecycle.owners:
        assert owner.pending == 0  # type: ignore[attr-defined]


async def refused(caller: Caller, code: ErrorCode, *told: str) -> Error:
    """The session ends with this error, its close code, and a sentence that says all of `told`."""
    close = ERRORS[code].close
    assert close is not None
    error = await caller.hear_error(code, close=close.value)
    for part in told:
        assert part in error.message
    assert error.retryable is ERRORS[code].retryable
    return error


STARTS: list[tuple[dict[str, Any], str, str]] = [
    ({"rate": 8000}, "rate", "unknown field"),
    ({"turn": {"mood": "smart"}}, "turn.mood", "unknown field"),
    ({"sample_rate": "fast"}, "sample_rate", "integer"),
    ({"sample_rate": 7999}, "sample_rate", "8000"),
    ({"sample_rate": 96_000}, "sample_rate", "48000"),
    ({"sample_rate": 16000.5}, "sample_rate", "integer"),
    ({"channels": 3}, "channels", "2"),
    ({"channels": None}, "channels", "integer"),
    ({"encoding": "mp3"}, "encoding", "'webm'"),
    ({"partials": "perhaps"}, "partials", "boolean"),
    ({"hotwords": "Kennedy"}, "hotwords", "tuple"),
    ({"hotwords": ["x"] * 101}, "hotwords", "100"),
    ({"prompt": "x" * 1001}, "prompt", "1000"),
    ({"turn": {"mode": "psychic"}}, "turn.mode", "'manual'"),
    ({"turn": {"threshold": 1.5}}, "turn.threshold", "1"),
    ({"turn": {"silence_ms": 1}}, "turn.silence_ms", "100"),
    ({"language": "x"}, "language", "2"),
]


@pytest.mark.parametrize(("fields", "field", "expected"), STARTS)
async def test_a_wrong_start_names_the_field_and_what_was_expected(
    live: LiveService, fields: dict[str, Any], field: str, expected: str
) -> None:
    async with session(live.ws, start=fields) as caller:
        error = await refused(caller, ErrorCode.INVALID_MESSAGE, f'"{field}"', expected)
        assert len(error.message) < 400
    await unharmed(live)


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("hello", ErrorCode.INVALID_JSON, "not JSON"),
        ("", ErrorCode.INVALID_JSON, "not JSON"),
        ("[]", ErrorCode.INVALID_JSON, "not list"),
        ('"start"', ErrorCode.INVALID_JSON, "not str"),
        ("null", ErrorCode.INVALID_JSON, "JSON object"),
        ('{"type":"flush"', ErrorCode.INVALID_JSON, "not JSON"),
        ('{"type":"start","sample_rate":NaN}', ErrorCode.INVALID_JSON, "not JSON"),
        ("[" * 100_000, ErrorCode.INVALID_JSON, "not JSON"),
        ('{"a":' * 50_000, ErrorCode.INVALID_JSON, "not JSON"),
        ('{"type":"start","sample_rate":1' + "0" * 5000 + "}", ErrorCode.INVALID_JSON, "not JSON"),
        ("{}", ErrorCode.INVALID_MESSAGE, '"type" is missing'),
        ('{"type":"begin"}', ErrorCode.INVALID_MESSAGE, "flush, start, stop"),
        ('{"type":1}', ErrorCode.INVALID_MESSAGE, '"type"'),
        ('{"type":["stop"]}', ErrorCode.INVALID_MESSAGE, '"type"'),
        ('{"type":"final","text":""}', ErrorCode.INVALID_MESSAGE, '"type"'),
        ('{"type":"flush","now":true}', ErrorCode.INVALID_MESSAGE, '"now"'),
        ('{"type":"start","type":"begin"}', ErrorCode.INVALID_MESSAGE, "begin"),
        ('{"type":"' + "x" * 900_000 + '"}', ErrorCode.INVALID_MESSAGE, '"type"'),
        ('{"type":"start","prompt":"' + "x" * 900_000 + '"}', ErrorCode.INVALID_MESSAGE, "prompt"),
        ('{"type":"start","' + "x" * 900_000 + '":1}', ErrorCode.INVALID_MESSAGE, "unknown field"),
        ("x" * 1_100_000, ErrorCode.MESSAGE_TOO_LARGE, "1048576"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_text_that_is_no_message(
    live: LiveService, text: str, code: ErrorCode, told: str
) -> None:
    async with session(live.ws) as caller:
        await caller.socket.send(text)
        error = await refused(caller, code, told)
        assert len(error.message) < 400
    await unharmed(live)


async def test_start_is_sent_once_and_first(live: LiveService) -> None:
    async with session(live.ws, start={}) as caller:
        await caller.say(type="start")
        await refused(caller, ErrorCode.UNEXPECTED_MESSAGE, '"start"', "first")
    async with session(live.ws) as caller:
        await caller.audio(SECOND)
        await caller.say(type="start")
        await refused(caller, ErrorCode.UNEXPECTED_MESSAGE, '"start"', "before any audio")
    async with session(live.ws) as caller:
        await caller.say(type="flush")
        await caller.say(type="start")
        await refused(caller, ErrorCode.UNEXPECTED_MESSAGE, '"start"')
    await unharmed(live)


@pytest.mark.parametrize("after", [SECOND, b"", '{"type":"flush"}', '{"type":"stop"}'])
async def test_nothing_may_follow_stop(start_service: Start, after: bytes | str) -> None:
    service = start_service(delay_ms=200)
    async with session(service.ws) as caller:
        await caller.audio(SECOND)
        await caller.say(type="stop")
        await caller.socket.send(after)
        await refused(caller, ErrorCode.UNEXPECTED_MESSAGE, '"stop"')
    await unharmed(service)


async def test_half_a_sample_at_the_end_is_mentioned_and_forgiven(live: LiveService) -> None:
    async with session(live.ws) as caller:
        await caller.audio([SECOND, b"\x01"])
        await caller.say(type="stop")
        error = await caller.hear_error(ErrorCode.INVALID_AUDIO)
        assert "1 bytes" in error.message
        assert await caller.closed() == 1000
    assert caller.kinds()[-1] == "stopped"
    assert caller.text == "w4 w4 w4 w4 w4"


async def test_half_a_sample_before_a_flush_does_not_turn_the_rest_to_noise(
    live: LiveService,
) -> None:
    async with session(live.ws, start={"partials": False}) as caller:
        await caller.audio([SECOND, b"\x01"])
        await caller.say(type="flush")
        await caller.hear_error(ErrorCode.INVALID_AUDIO)
        await caller.audio(SECOND)
        await caller.stop()
    assert [final.text for final in caller.all(Final)] == ["w4 w4 w4 w4 w4"] * 2


async def test_an_opus_rate_that_is_none(live: LiveService) -> None:
    async with session(live.ws, start={"encoding": "opus", "sample_rate": 44_100}) as caller:
        await refused(caller, ErrorCode.UNSUPPORTED_AUDIO, "sample_rate 44100", "48000")
    await unharmed(live)


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 50, b"\x03\x00", b"\x00" * 61_441])
async def test_garbage_for_opus(live: LiveService, garbage: bytes) -> None:
    async with session(live.ws, start={"encoding": "opus"}) as caller:
        await caller.socket.send(garbage)
        await caller.say(type="flush")
        await refused(caller, ErrorCode.UNREADABLE_AUDIO, "no Opus packet")
    await unharmed(live)


@pytest.mark.parametrize("garbage", [b"\xff" * 50, b"not webm at all" * 99, b"RIFF" * 9, SECOND])
async def test_garbage_for_webm(live: LiveService, garbage: bytes) -> None:
    async with session(live.ws, start={"encoding": "webm"}) as caller:
        await caller.socket.send(garbage)
        await caller.say(type="flush")
        await refused(caller, ErrorCode.UNREADABLE_AUDIO)
    await unharmed(live)


async def test_numbers_that_are_none_are_silence(live: LiveService) -> None:
    nan = b"\x00\x00\xc0\x7f" * 16_000
    caller = await recognise(live.ws, [nan, b"\x00\x00\x80\x7f" * 999], encoding="pcm_f32le")
    assert caller.kinds() == ["ready", "stopped"]
    await unharmed(live)


async def test_a_language_that_the_model_lacks(live: LiveService) -> None:
    async with session(live.ws, start={"language": "tlh"}) as caller:
        await refused(caller, ErrorCode.UNSUPPORTED_LANGUAGE, 'language "tlh"', "en, vi")
    await unharmed(live)


async def test_ten_thousand_tiny_messages(live: LiveService) -> None:
    async with session(live.ws) as caller:
        with pytest.raises(ConnectionClosed):
            for _ in range(10_000):
                await caller.socket.send(b"\x00\x00")
            await caller.closed()
            await caller.socket.send(b"")
        await caller.closed()
    [error] = caller.all(Error)
    assert error.code is ErrorCode.TOO_MANY_MESSAGES
    assert "20 ms" in error.message
    await unharmed(live)


async def test_a_phone_s_small_frames_are_not_too_many(live: LiveService) -> None:
    async with session(live.ws, start={"encoding": "mulaw", "sample_rate": 8000}) as caller:
        phone = pcm(joined(tone(400, 8000), silence(1000)), "mulaw", 8000)
        await caller.audio(phone, size=80)  # 10 ms, all at once
        await caller.stop()
    assert len(caller.text.split()) >= 38


async def test_a_message_over_the_limit(start_service: Start) -> None:
    service = start_service(limits=LimitsConfig(max_message_bytes=10_000))
    async with session(service.ws) as caller:
        await caller.socket.send(b"\0" * 10_001)
        await refused(caller, ErrorCode.MESSAGE_TOO_LARGE, "10001", "10000")
    async with session(service.ws) as caller:  # more than the server takes into memory at all
        await caller.socket.send(b"\0" * 50_000)
        assert await caller.closed() == 1009
    await unharmed(service)


async def test_silence_on_the_wire_has_an_end(start_service: Start) -> None:
    service = start_service(limits=LimitsConfig(idle_s=0.6))
    async with session(service.ws) as caller:
        await refused(caller, ErrorCode.IDLE_TIMEOUT, "0.6 s")
    await unharmed(service)


async def test_a_session_has_an_end(start_service: Start) -> None:
    service = start_service(limits=LimitsConfig(session_s=0.3))
    async with session(service.ws) as caller:
        await caller.audio(SECOND)
        await refused(caller, ErrorCode.SESSION_TOO_LONG, "0.3 s")
    await unharmed(service)


async def test_fragments_of_a_message_that_never_ends(start_service: Start) -> None:
    service = start_service(limits=LimitsConfig(max_message_bytes=10_000))

    async def endless() -> Any:
        while True:
            yield b"\0" * 1000
            await asyncio.sleep(0)

    async with session(service.ws) as caller:
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(10):
                await caller.socket.send(endless())
    await unharmed(service)


KEYS = ServerConfig(api_keys=["first-key", "second-key"], drain_s=0.5)  # type: ignore[arg-type]


async def test_without_a_key_there_is_no_upgrade(start_service: Start) -> None:
    service = start_service(server=KEYS)
    wrong: list[dict[str, Any]] = [
        {},
        {"additional_headers": {"Authorization": "Bearer third-key"}},
        {"additional_headers": {"Authorization": "Basic first-key"}},
        {"additional_headers": {"Authorization": "Bearer "}},
        {"subprotocols": ["voice", "third-key"]},
        {"subprotocols": ["first-key"]},
    ]
    for options in wrong:
        with pytest.raises(InvalidStatus) as caught:
            async with session(service.ws, **options):
                pass
        response = caught.value.response
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        error = Error.model_validate(json.loads(response.body or b""))
        assert error.code is ErrorCode.UNAUTHORIZED
        assert "first-key" not in error.message
    assert service.lifecycle.sessions == 0


async def test_a_key_comes_in_the_header_or_as_a_subprotocol(start_service: Start) -> None:
    service = start_service(server=KEYS)
    bearer = {"Authorization": "Bearer second-key"}
    async with session(service.ws, additional_headers=bearer) as caller:
        await caller.stop()
    async with session(service.ws, subprotocols=["voice", "first-key"]) as caller:
        assert caller.socket.subprotocol == "voice"
        await caller.stop()
