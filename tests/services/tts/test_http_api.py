"""`POST /v1/synthesize` and `GET /v1/voices` as clients meet them, tones for speech."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import av
import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.media.encode import FileFormat
from services.shared.protocol.base import ErrorCode
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.tts.config import TextConfig
from services.tts.engines.fake import GAP_MS, SAMPLE_RATE, word_hertz, word_ms
from services.tts.voices import sample_text
from tests.services.serving import LiveService, eventually
from tests.services.tts.client import open_streams, session, tone_at
from tests.services.tts.conftest import StartService

TEXT = "Telephone exchange. Another sentence follows."
WORDS = TEXT.split()
TEXT_MS = sum(40 * len(word) + 20 for word in WORDS)
RAW = {FileFormat.PCM: Encoding.PCM_S16LE, FileFormat.MULAW: Encoding.MULAW}
RAW[FileFormat.ALAW] = Encoding.ALAW


@pytest.fixture
async def client(live: LiveService) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=live.http, trust_env=False) as made:
        yield made


async def synthesize(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/synthesize", json={"text": TEXT, **fields})


def assert_error(
    answer: httpx.Response, status: int, code: ErrorCode, told: str = ""
) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    assert set(body) == {"type", "code", "message", "retryable"}
    assert told in body["message"]
    return body


def decoded(data: bytes, file_format: FileFormat, rate: int) -> tuple[Floats, int]:
    """Samples [n] and their rate."""
    if encoding := RAW.get(file_format):
        return AudioFormat(encoding, rate).decode(data), rate
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = np.concatenate(frames, axis=1)[0]
    if samples.dtype != np.float32:
        samples = samples.astype(np.float32) / np.float32(32_768)
    return samples, rate


# What comes back.


@pytest.mark.parametrize("sample_rate", [None, 8000, 24_000, 48_000])
@pytest.mark.parametrize("file_format", list(FileFormat))
async def test_every_format_has_the_length_and_the_words(
    client: httpx.AsyncClient, file_format: FileFormat, sample_rate: int | None
) -> None:
    answer = await synthesize(client, format=file_format, sample_rate=sample_rate)
    assert answer.status_code == 200
    told_rate = int(answer.headers["X-Sample-Rate"])
    assert told_rate >= (sample_rate or SAMPLE_RATE)
    samples, rate = decoded(answer.content, file_format, told_rate)
    beyond_ms = len(samples) * 1000 / rate - TEXT_MS
    assert -10 <= beyond_ms <= 20 if file_format is FileFormat.MP3 else abs(beyond_ms) < 0.2
    at = 0
    for word in WORDS:
        length = 40 * len(word)
        heard = tone_at(samples[at * rate // 1000 : (at + length) * rate // 1000], rate)
        assert heard == pytest.approx(word_hertz(word), abs=6)
        at += length + 20


@pytest.mark.parametrize(
    ("file_format", "content_type"),
    [
        (FileFormat.WAV, "audio/wav"),
        (FileFormat.FLAC, "audio/flac"),
        (FileFormat.MP3, "audio/mpeg"),
        (FileFormat.OGG, "audio/ogg; codecs=opus"),
        (FileFormat.PCM, "audio/pcm; rate=8000; channels=1"),
        (FileFormat.MULAW, "audio/PCMU; rate=8000; channels=1"),
    ],
)
async def test_the_content_type_tells_the_format(
    client: httpx.AsyncClient, file_format: FileFormat, content_type: str
) -> None:
    answer = await synthesize(client, format=file_format, sample_rate=8000)
    assert answer.headers["Content-Type"] == content_type


@pytest.mark.parametrize("file_format", list(FileFormat))
async def test_text_with_nothing_to_speak_gives_a_moment_of_silence(
    client: httpx.AsyncClient, file_format: FileFormat
) -> None:
    answer = await synthesize(client, text="😀 … 🎉", format=file_format)
    assert answer.status_code == 200
    samples, rate = decoded(answer.content, file_format, SAMPLE_RATE)
    assert len(samples) / rate == pytest.approx(0.02, abs=0.03 if file_format == "mp3" else 1e-6)
    assert np.abs(samples).max() < 0.001


async def test_voice_language_and_speed_are_obeyed(client: httpx.AsyncClient) -> None:
    normal = await synthesize(client, format="pcm")
    double = await synthesize(client, format="pcm", speed=2.0, voice="fake-vi")
    assert len(double.content) == pytest.approx(len(normal.content) / 2, rel=0.01)
    assert (await synthesize(client, language="vi")).status_code == 200


async def test_voices_are_listed_with_the_default_and_their_licence(
    client: httpx.AsyncClient,
) -> None:
    voices = (await client.get("/v1/voices")).json()["voices"]
    assert [(each["id"], each["default"]) for each in voices] == [
        ("fake-en", True),
        ("fake-vi", False),
    ]
    assert voices[1] == {
        "id": "fake-vi",
        "name": "Fake vi-VN",
        "language": "vi-VN",
        "sample_rate": 16_000,
        "engine": "fake",
        "licence": "MIT",
        "sample": "/v1/voices/fake-vi/sample",
        "default": False,
        "cloned": False,
    }


async def test_a_voice_can_be_heard(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/voices/fake-vi/sample")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "audio/wav"
    words = sample_text("vi-VN").split()
    samples, rate = decoded(answer.content, FileFormat.WAV, SAMPLE_RATE)
    expected_ms = sum(word_ms(word) + GAP_MS for word in words)
    assert len(samples) * 1000 / rate == pytest.approx(expected_ms, abs=1)
    assert (await client.get("/v1/voices/fake-en/sample?format=ogg")).content[:4] == b"OggS"


async def test_a_sample_of_an_unknown_voice_lists_the_voices(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/voices/nobody/sample")
    told = assert_error(answer, 422, ErrorCode.UNKNOWN_VOICE, "fake-en, fake-vi")
    assert not told["retryable"]


# Streaming.


@pytest.mark.parametrize("file_format", [FileFormat.WAV, FileFormat.MP3, FileFormat.OPUS])
async def test_audio_comes_while_the_rest_is_being_made(
    start_service: StartService, file_format: FileFormat
) -> None:
    service = await start_service(delay_ms=40)
    begun, arrivals = time.monotonic(), list[float]()
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as client:
        body = {"text": "wonderful " * 15, "format": file_format}
        async with client.stream("POST", "/v1/synthesize", json=body) as answer:
            async for _ in answer.aiter_bytes():
                arrivals.append(time.monotonic() - begun)
    assert arrivals[-1] > 15 * 0.04
    assert arrivals[-1] - arrivals[0] > 15 * 0.04 / 2
    assert len(arrivals) > 8


async def test_a_client_that_goes_away_stops_the_synthesis(start_service: StartService) -> None:
    service = await start_service(delay_ms=20)
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as client:
        body = {"text": "wonderful " * 200, "format": "pcm"}
        async with client.stream("POST", "/v1/synthesize", json=body) as answer:
            await anext(answer.aiter_bytes())
            assert service.lifecycle.sessions == 1
    await eventually(lambda: service.lifecycle.sessions == 0)
    await eventually(lambda: open_streams() == 0)
    made = service.metric("voice_tts_audio_seconds_total")
    assert made < 200 * 0.38 / 2
    await asyncio.sleep(0.1)
    assert service.metric("voice_tts_audio_seconds_total") == made


@pytest.mark.parametrize("wait_s", [0.0, 0.1, 0.5])
async def test_a_client_that_vanishes_frees_the_engine(
    start_service: StartService, wait_s: float
) -> None:
    service = await start_service(delay_ms=50)
    host, port = service.http.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"text": "wonderful " * 200, "format": "pcm"}).encode()
    head = f"POST /v1/synthesize HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    await eventually(lambda: open_streams() == 1)
    await asyncio.sleep(wait_s)
    writer.transport.abort()  # no goodbye
    await eventually(lambda: open_streams() == 0)  # all of it would take ten seconds
    await eventually(lambda: service.lifecycle.sessions == 0)
    assert service.metric("voice_tts_cancel_seconds_count") == 1
    assert service.metric("voice_model_queue_length", model="tts_fake") == 0


async def test_a_client_that_reads_slowly_holds_the_synthesis_back(live: LiveService) -> None:
    before = live.metric("voice_tts_audio_seconds_total")
    whole_s = 0.38 * 1900
    async with httpx.AsyncClient(base_url=live.http, trust_env=False) as client:
        body = {"text": "wonderful " * 1900, "format": "pcm", "sample_rate": 48_000}
        async with client.stream("POST", "/v1/synthesize", json=body) as answer:
            await anext(answer.aiter_bytes())
            made = -1.0
            async with asyncio.timeout(10):
                while made != (now := live.metric("voice_tts_audio_seconds_total") - before):
                    made = now
                    await asyncio.sleep(0.2)
    assert made < whole_s / 2
    await eventually(lambda: live.lifecycle.sessions == 0)


# Failures.


@pytest.mark.parametrize(
    ("word", "told"), [("FAIL", "told to fail"), ("CRASH", "the engine failed on this text")]
)
async def test_a_failure_at_the_beginning_is_told_by_status(
    client: httpx.AsyncClient, live: LiveService, word: str, told: str
) -> None:
    answer = await synthesize(client, text=f"{word} is the first word")
    assert_error(answer, 502, ErrorCode.ENGINE_FAILED, told)
    assert answer.json()["retryable"]
    await eventually(lambda: live.lifecycle.sessions == 0)


@pytest.mark.parametrize("word", ["FAIL", "CRASH"])
@pytest.mark.parametrize("file_format", [FileFormat.WAV, FileFormat.PCM])
async def test_a_failure_in_the_middle_breaks_the_body_off(
    client: httpx.AsyncClient, live: LiveService, word: str, file_format: FileFormat
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await synthesize(client, text=f"one two. Three {word} four.", format=file_format)
    await eventually(lambda: live.lifecycle.sessions == 0)
    assert (await synthesize(client)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"colour": "red"}, "invalid_message", 'unknown field "colour"'),
        ({"text": ""}, "invalid_message", '"text"'),
        ({"text": 5}, "invalid_message", '"text"'),
        ({"speed": 4.1}, "invalid_message", '"speed"'),
        ({"speed": 0.2}, "invalid_message", '"speed"'),
        ({"sample_rate": 7999}, "invalid_message", '"sample_rate"'),
        ({"sample_rate": 48_001}, "invalid_message", '"sample_rate"'),
        ({"format": "aac"}, "invalid_message", "'opus'"),
        ({"voice": "nobody"}, "unknown_voice", "fake-en, fake-vi"),
        ({"language": "fr"}, "unsupported_language", "en-US, vi-VN"),
        ({"language": "fr", "voice": "fake-en"}, "unsupported_language", "fake-en"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named_with_what_was_expected(
    client: httpx.AsyncClient, fields: dict[str, Any], code: str, told: str
) -> None:
    assert_error(await synthesize(client, **fields), 422, ErrorCode(code), told)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b"", "application/json", 422, "invalid_message"),
        (b"[1]", "application/json", 422, "invalid_message"),
        (b'{"text":"a"}', "text/plain", 422, "invalid_message"),
        (b"text=a", "application/x-www-form-urlencoded", 422, "invalid_message"),
        (b'{"text":"\xff"}', "application/json", 400, None),
        (b'{"text":"\\ud800"}', "application/json", 422, "invalid_message"),
        (b'{"text":' + b"[" * 100_000, "application/json", 400, None),
        (b'{"text":"a","speed":NaN}', "application/json", 422, "invalid_message"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_a_wrong_body_gets_an_error_in_the_one_shape(
    client: httpx.AsyncClient, body: bytes, content_type: str, status: int, code: str | None
) -> None:
    headers = {"Content-Type": content_type}
    answer = await client.post("/v1/synthesize", content=body, headers=headers)
    assert_error(answer, status, ErrorCode(code or answer.json()["code"]))


async def test_text_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await synthesize(client, text="a" * 20_001)
    assert_error(answer, 413, ErrorCode.TEXT_TOO_LONG, "20001")


async def test_a_megabyte_of_text_is_refused(client: httpx.AsyncClient) -> None:
    answer = await synthesize(client, text="word " * 200_000)
    assert_error(answer, 413, ErrorCode.MESSAGE_TOO_LARGE, "limit")


@pytest.mark.real_time
async def test_a_megabyte_of_text_can_be_permitted(start_service: StartService) -> None:
    text = "word " * 200_000
    service = await start_service(text=TextConfig(max_request_characters=1_000_000))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as roomy:
        body = {"text": text, "format": "mulaw", "sample_rate": 8000}
        async with roomy.stream("POST", "/v1/synthesize", json=body) as answer:
            assert answer.status_code == 200
            await anext(answer.aiter_bytes())
    measured = service.metric("voice_event_loop_lag_seconds_count")
    assert measured > 0
    assert service.metric("voice_event_loop_lag_seconds_bucket", le="0.5") >= measured


# Who may come in.


async def test_keys_are_asked_for(start_service: StartService) -> None:
    service = await start_service(server=ServerConfig(api_keys=(SecretStr("s3cret"),), drain_s=0.5))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as client:
        for path in ("/v1/voices", "/v1/synthesize"):
            method = "GET" if path == "/v1/voices" else "POST"
            answer = await client.request(method, path)
            assert_error(answer, 401, ErrorCode.UNAUTHORIZED, "Bearer")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        client.headers["Authorization"] = "Bearer wrong"
        assert_error(await synthesize(client), 401, ErrorCode.UNAUTHORIZED, "not accepted")
        client.headers["Authorization"] = "Bearer s3cret"
        assert (await synthesize(client)).status_code == 200


async def test_a_full_service_asks_to_come_back(start_service: StartService) -> None:
    service = await start_service(limits=LimitsConfig(max_sessions=1))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as client:
        async with session(service.ws):
            answer = await synthesize(client)
            assert assert_error(answer, 503, ErrorCode.OVERLOADED)["retryable"]
            assert int(answer.headers["Retry-After"]) > 0
            assert (await client.get("/v1/voices")).status_code == 200
        await eventually(lambda: service.lifecycle.sessions == 0)
        assert (await synthesize(client)).status_code == 200


async def test_unknown_routes_and_methods_answer_in_the_one_shape(
    client: httpx.AsyncClient,
) -> None:
    assert_error(await client.get("/v1/nothing"), 404, ErrorCode.NOT_FOUND)
    assert json.loads((await client.get("/v1/synthesize")).content)["type"] == "error"
