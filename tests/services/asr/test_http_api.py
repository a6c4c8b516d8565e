"""Files over HTTP: every format, every limit, with a recogniser that reads tones."""

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.asr.config import UploadConfig
from services.asr.engines.base import DecodeRequest, EngineError, Hypothesis
from services.asr.engines.fake import FakeEngine
from services.asr.transcript import Transcript
from services.shared.media.wav import wav_bytes
from services.shared.protocol.base import ERRORS, Error, ErrorCode
from services.shared.runtime.config import LimitsConfig, ServerConfig
from tests.services.asr.client import session
from tests.services.asr.conftest import Start
from tests.services.asr.sounds import RATE, encoded, joined, silence, tone
from tests.services.serving import LiveService, eventually

TWO = joined(silence(300), tone(400, 1000), silence(2500), tone(900, 1000), silence(200))
WAV = wav_bytes(TWO, RATE)
SHORT = wav_bytes(tone(400, 600), RATE)


async def post(service: LiveService, file: Any = WAV, **options: Any) -> httpx.Response:
    files = options.pop("files", {"file": ("speech.wav", file)})
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        return await client.post(f"{service.http}/v1/transcribe", files=files, **options)


async def transcript(service: LiveService, file: bytes = WAV, **fields: str) -> Transcript:
    answer = await post(service, file, data=fields)
    assert answer.status_code == 200, answer.text
    return Transcript.model_validate_json(answer.content)


def told(answer: httpx.Response, code: ErrorCode, *parts: str) -> Error:
    """The one shape of error, with the status of its code."""
    error = Error.model_validate(answer.json())
    assert error.code is code, error
    assert answer.status_code == ERRORS[code].http_status
    assert error.retryable is ERRORS[code].retryable
    assert len(error.message) < 400
    for part in parts:
        assert part in error.message
    return error


async def unharmed(service: LiveService) -> None:
    assert (await transcript(service, SHORT)).text.split()[:2] == ["w4", "w4"]
    await eventually(lambda: service.lifecycle.sessions == 0)
    for owner in service.lifecycle.owners:
        assert owner.pending == 0  # type: ignore[attr-defined]


async def test_segments_are_in_their_places(live: LiveService) -> None:
    got = await transcript(live)
    first, second = got.segments
    assert set(first.text.split()[1:-1]) == {"w4"}
    assert set(second.text.split()[1:-1]) == {"w9"}
    assert got.text == f"{first.text} {second.text}"
    assert got.duration_ms == 5000
    assert got.language == "en"
    assert 0 <= first.start_ms <= 300 < 1300 <= first.end_ms <= 1600
    assert 3500 <= second.start_ms <= 3800 < 4800 <= second.end_ms <= 5000
    assert first.words is None


async def test_words_have_times_in_the_file(live: LiveService) -> None:
    got = await transcript(live, word_timestamps="true")
    for segment in got.segments:
        assert segment.words is not None
        assert [word.word for word in segment.words] == segment.text.split()
        for word in segment.words:
            assert segment.start_ms <= word.start_ms < word.end_ms
    last = got.segments[1].words
    assert last is not None
    assert last[0].start_ms >= 3400


async def test_the_language_is_taken_with_or_without_region(live: LiveService) -> None:
    assert (await transcript(live, language="vi")).language == "vi"
    assert (await transcript(live, language="VI-vn")).language == "vi"


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("flac", "flac"),
        ("mp3", "libmp3lame"),
        ("ogg", "libopus"),
        ("webm", "libopus"),
        ("ipod", "aac"),
        ("wav", "pcm_s24le"),
    ],
)
async def test_every_format_gives_the_same_words(
    live: LiveService, container: str, codec: str
) -> None:
    got = await transcript(live, encoded(TWO, container, codec))
    assert [set(segment.text.split()[1:-1]) for segment in got.segments] == [{"w4"}, {"w9"}]
    assert abs(got.duration_ms - 5000) <= 60


async def test_silence_has_no_words(live: LiveService) -> None:
    answer = await post(live, wav_bytes(silence(3000), RATE))
    assert answer.json() == {"text": "", "duration_ms": 3000, "segments": []}


async def test_a_long_recording_is_cut_and_put_together(live: LiveService) -> None:
    got = await transcript(live, wav_bytes(tone(400, 120_000), RATE), word_timestamps="1")
    assert 595 <= len(got.text.split()) <= 605
    assert all(segment.end_ms - segment.start_ms <= 28_000 for segment in got.segments)
    ends = [0, *(segment.end_ms for segment in got.segments)]
    assert all(end <= segment.start_ms for end, segment in zip(ends, got.segments, strict=False))
    assert got.duration_ms == ends[-1] == 120_000


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (b"", "the file is empty"),
        (b"This is a letter, not a song. " * 50, "wav, flac, mp3"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "wav, flac, mp3"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "wav, flac, mp3"),
        (WAV[:40], "audio"),
        (encoded(TWO, "flac", "flac")[:60], "audio"),
        (encoded(TWO, "ipod", "aac")[:2000], "audio"),
    ],
    ids=["empty", "text", "picture", "playlist", "wav head", "flac head", "m4a without index"],
)
async def test_a_file_that_cannot_be_read(live: LiveService, file: bytes, sentence: str) -> None:
    told(await post(live, file), ErrorCode.UNREADABLE_AUDIO, 'field "file"', sentence)
    await unharmed(live)


async def test_a_truncated_file_gives_what_it_holds(live: LiveService) -> None:
    got = await transcript(live, WAV[: len(WAV) // 2])
    assert [set(segment.text.split()[1:-1]) for segment in got.segments] == [{"w4"}]


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"lang": "en"}, ('unknown field "lang"', "language")),
        ({"word_timestamps": "maybe"}, ('"word_timestamps"', "boolean")),
        ({"prompt": "x" * 1001}, ('"prompt"', "1000")),
        ({"hotwords": "x" * 4001}, ('"hotwords"', "4000")),
    ],
)
async def test_a_wrong_field_is_named(
    live: LiveService, fields: dict[str, str], parts: tuple[str, ...]
) -> None:
    told(await post(live, data=fields), ErrorCode.INVALID_MESSAGE, *parts)
    await unharmed(live)


async def test_a_language_that_the_model_lacks(live: LiveService) -> None:
    answer = await post(live, data={"language": "tlh"})
    told(answer, ErrorCode.UNSUPPORTED_LANGUAGE, 'language "tlh"', "en, vi")


async def test_the_file_must_be_a_file_and_one(live: LiveService) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{live.http}/v1/transcribe"
        for answer in (
            await client.post(url),
            await client.post(url, data={"file": "speech"}),
            await client.post(url, json={"file": "speech"}),
            await client.post(url, content=WAV, headers={"Content-Type": "audio/wav"}),
            await client.post(url, files={"audio": ("a.wav", WAV)}),
        ):
            told(answer, ErrorCode.INVALID_MESSAGE, 'field "file" is required')
        two = await client.post(url, files=[("file", ("a", WAV)), ("file", ("b", WAV))])
        assert (two.status_code, two.json()["code"]) == (422, "invalid_message")
        torn = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await client.post(url, content=b"--y\r\nnonsense", headers=torn)
        assert answer.json()["code"] == "invalid_message"
        assert (await client.get(url)).status_code == 405
        missing = await client.get(f"{live.http}/v1/nothing")
        told(missing, ErrorCode.NOT_FOUND)
    await unharmed(live)


async def test_a_file_over_the_limit_of_bytes(start_service: Start) -> None:
    service = start_service(upload=UploadConfig(max_bytes=200_000))
    big = b"\0" * 1_000_000
    told(await post(service, big), ErrorCode.MESSAGE_TOO_LARGE, "bytes")
    # Without a Content-Length the bytes are counted as they come.
    boundary = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        yield boundary
        for _ in range(2000):
            sent += 10_000
            yield b"\0" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        url = f"{service.http}/v1/transcribe"
        answer = await client.post(url, content=chunks(), headers=headers)
    told(answer, ErrorCode.MESSAGE_TOO_LARGE, "bytes")
    await unharmed(service)


async def test_a_small_file_that_decodes_to_too_much(start_service: Start) -> None:
    service = start_service(upload=UploadConfig(max_duration_s=60))
    bomb = encoded(silence(120_000), "flac", "flac")
    assert len(bomb) < 100_000
    told(await post(service, bomb), ErrorCode.AUDIO_TOO_LONG, 'field "file"', "60 s")
    await unharmed(service)


async def test_only_so_many_files_at_a_time(start_service: Start) -> None:
    service = start_service(500, upload=UploadConfig(max_concurrent=2))
    answers = await asyncio.gather(*(post(service, SHORT) for _ in range(5)))
    done = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(done) == 2
    for answer in refused:
        told(answer, ErrorCode.OVERLOADED, "try again")
        assert int(answer.headers["retry-after"]) > 0
    await unharmed(service)


async def test_a_file_counts_as_a_session(start_service: Start) -> None:
    service = start_service(limits=LimitsConfig(max_sessions=1))
    async with session(service.ws) as caller:
        answer = await post(service)
        told(answer, ErrorCode.OVERLOADED, "sessions")
        assert int(answer.headers["retry-after"]) > 0
        await caller.stop()
    await unharmed(service)


async def test_work_stops_when_the_client_hangs_up(start_service: Start) -> None:
    service = start_service(800)
    long = wav_bytes(tone(400, 300_000), RATE)  # 11 pieces, 8.8 s of work
    with pytest.raises(httpx.ReadTimeout):
        async with httpx.AsyncClient(trust_env=False, timeout=1.5) as client:
            await client.post(f"{service.http}/v1/transcribe", files={"file": ("a", long)})
    left = time.monotonic()
    await eventually(lambda: service.lifecycle.sessions == 0)
    assert time.monotonic() - left < 5
    await unharmed(service)


async def test_a_client_that_vanishes_while_it_sends(start_service: Start) -> None:
    service = start_service()
    host, port = service.address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = "POST /v1/transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    writer.write(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode())
    await writer.drain()
    await eventually(lambda: service.lifecycle.sessions == 1)
    writer.close()
    await eventually(lambda: service.lifecycle.sessions == 0)
    await unharmed(service)


async def test_a_client_that_never_finishes_sending(start_service: Start) -> None:
    service = start_service(upload=UploadConfig(receive_s=0.3))

    async def chunks() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        await asyncio.sleep(1)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{service.http}/v1/transcribe"
        answer = await client.post(url, content=chunks(), headers=headers)
    told(answer, ErrorCode.IDLE_TIMEOUT, "0.3 s")
    await unharmed(service)


class BrokenEngine(FakeEngine):
    """Fails with an error of one kind or another, or hangs."""

    def __init__(self, error: Exception | None = None, hang_s: float = 0.0) -> None:
        super().__init__()
        self.error: Exception | None = error
        self.hang_s = hang_s
        self.released = threading.Event()

    def transcribe(self, requests: list[DecodeRequest]) -> list[Hypothesis | Exception]:  # type: ignore[override]
        if self.hang_s:
            self.released.wait(self.hang_s)
        if self.error is not None:
            raise self.error
        return super().transcribe(requests)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("cublas at 0xdeadbeef"), "recognition failed"),
        (EngineError("the graphics card is gone"), "the graphics card is gone"),
    ],
)
async def test_an_engine_that_fails(start_service: Start, error: Exception, sentence: str) -> None:
    engine = BrokenEngine(error)
    service = start_service(engine_is=engine)
    answer = await post(service)
    assert told(answer, ErrorCode.ENGINE_FAILED).message == sentence
    engine.error = None
    await unharmed(service)


async def test_an_engine_that_hangs(start_service: Start) -> None:
    engine = BrokenEngine(hang_s=20.0)
    service = start_service(engine_is=engine, engine_timeout_s=0.3)
    began = time.monotonic()
    told(await post(service), ErrorCode.ENGINE_FAILED)
    assert time.monotonic() - began < 10
    engine.hang_s = 0
    engine.released.set()
    await eventually(lambda: service.lifecycle.owners[2].busy_for() == 0)
    await unharmed(service)


async def test_a_transcript_that_takes_too_long(start_service: Start) -> None:
    service = start_service(1000, upload=UploadConfig(transcribe_s=0.2))
    answer = await post(service)
    told(answer, ErrorCode.OVERLOADED, "0.2 s")
    await eventually(lambda: service.lifecycle.sessions == 0)


@pytest.mark.real_time
async def test_live_callers_go_before_files(start_service: Start) -> None:
    service = start_service(300)
    upload = asyncio.create_task(post(service, wav_bytes(tone(400, 110_000), RATE)))
    await eventually(lambda: service.lifecycle.owners[2].busy_for() > 0)
    async with session(service.ws, start={"partials": False}) as caller:
        await caller.audio(wav_bytes(tone(900, 1000), RATE)[44:])
        began = time.monotonic()
        await caller.stop()
        assert time.monotonic() - began < 1.5
    assert not upload.done()
    assert "w9" in caller.text
    assert (await upload).status_code == 200


async def test_without_a_key_nothing_is_read(start_service: Start) -> None:
    keys = ServerConfig(api_keys=["the-key"], drain_s=0.5)  # type: ignore[arg-type]
    service = start_service(server=keys)
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(2000):
            sent += 10_000
            yield b"\0" * 10_000

    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        url = f"{service.http}/v1/transcribe"
        for headers in ({}, {"Authorization": "Bearer not-the-key"}):
            answer = await client.post(url, files={"file": ("a", WAV)}, headers=headers)
            told(answer, ErrorCode.UNAUTHORIZED)
            assert answer.headers["www-authenticate"] == "Bearer"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        told(await client.post(url, content=chunks(), headers=headers), ErrorCode.UNAUTHORIZED)
        good = {"Authorization": "Bearer the-key"}
        answer = await client.post(url, files={"file": ("a", WAV)}, headers=good)
        assert answer.status_code == 200
        for path in ("/health/live", "/health/ready"):
            assert (await client.get(f"{service.http}{path}")).status_code == 200


async def test_a_file_may_be_streamed_from_disk(live: LiveService) -> None:
    file = io.BytesIO(wav_bytes(joined(tone(400, 60_000), silence(500)), RATE))
    assert len(file.getvalue()) > 1 << 20  # over what is held in memory
    answer = await post(live, file)
    assert answer.json()["duration_ms"] == 60_500
