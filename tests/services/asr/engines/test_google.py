"""Google's engine with its real client library, against a server with the service's limits."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from services.asr.config import GoogleConfig
from services.asr.engines.base import DecodeRequest, EngineError, Floats, Hypothesis
from services.asr.engines.google import GoogleEngine
from services.asr.engines.google_errors import GoogleError
from services.asr.engines.google_request import phrases_of
from services.asr.engines.google_stream import GoogleStream
from services.asr.engines.streaming import StreamOptions
from tests.services.asr.bursts import WORD_MS, sentence, spoken
from tests.services.asr.google_server import Fault, GoogleServer, ServiceLimits, google_server
from tests.services.asr.sounds import joined, silence

pytestmark = pytest.mark.real_time
FAST = 40.0
"""Times real time, so that minutes of audio take seconds."""
NewEngine = Callable[..., GoogleEngine]


@pytest.fixture
def server() -> Iterator[GoogleServer]:
    with google_server(ServiceLimits(rate=1.25 * FAST)) as made:
        yield made


@pytest.fixture
async def engine(server: GoogleServer) -> AsyncIterator[GoogleEngine]:
    made = await started(server)
    yield made
    await made.close()


async def started(server: GoogleServer, *, idle_s: float = 5.0, **config: object) -> GoogleEngine:
    settings: dict[str, object] = {"replay_rate": FAST, "final_timeout_s": 10.0, **config}
    settings.setdefault("endpoint", server.endpoint)
    made = GoogleEngine(GoogleConfig.model_validate(settings), idle_s=idle_s)
    await asyncio.to_thread(made.load)
    await made.start()
    return made


async def feed(stream: GoogleStream, samples: Floats, chunk: int = 1600) -> None:
    """As fast as it may, but no faster."""
    for at in range(0, len(samples), chunk):
        await stream.room()
        stream.push(samples[at : at + chunk])
        await asyncio.sleep(0)


async def hear(engine: GoogleEngine, samples: Floats) -> Hypothesis:
    stream = engine.open(StreamOptions(word_timestamps=True))
    await feed(stream, samples)
    return await stream.finish()


# What is asked and what is answered.


async def test_what_is_asked_of_the_service(server: GoogleServer) -> None:
    engine = await started(
        server, project="acme", location="eu", recognizer="phone", model="telephony",
        language_codes=["en-US", "vi-VN"],
    )  # fmt: skip
    assert engine.capabilities.languages == ("en", "vi")
    options = StreamOptions("vi", "A call to the bank. Ask for Lan.", ("IBAN",), True)
    stream = engine.open(options)
    await feed(stream, spoken(sentence(3)))
    await stream.finish()
    request = server.streams[0].request
    assert request.recognizer == "projects/acme/locations/eu/recognizers/phone"
    routing = server.streams[0].metadata["x-goog-request-params"]
    assert unquote(routing) == f"recognizer={request.recognizer}"
    asked = request.streaming_config.config
    assert (asked.model, list(asked.language_codes)) == ("telephony", ["vi-VN"])
    assert asked.explicit_decoding_config.sample_rate_hertz == 16_000
    assert asked.features.enable_word_time_offsets
    assert asked.features.enable_word_confidence
    [phrases] = asked.adaptation.phrase_sets
    told = [phrase.value for phrase in phrases.inline_phrase_set.phrases]
    assert told == ["IBAN", "A call to the bank", "Ask for Lan"]
    assert request.streaming_config.streaming_features.interim_results
    await engine.close()


async def test_without_a_language_all_are_offered(server: GoogleServer) -> None:
    engine = await started(server, language_codes=["en-US", "vi-VN"])
    await hear(engine, spoken(["w5"]))
    [stream] = server.streams
    assert list(stream.request.streaming_config.config.language_codes) == ["en-US", "vi-VN"]
    await engine.close()


async def test_words_have_their_times(engine: GoogleEngine) -> None:
    said = sentence(5)
    heard = await hear(engine, joined(silence(1000), spoken(said), silence(600), spoken(["w9"])))
    assert heard.text == " ".join([*said, "w9"])
    assert (heard.language, heard.confidence, heard.suppressed) == ("en", 0.8, None)
    assert [word.word for word in heard.words] == [*said, "w9"]
    starts = [1000 + index * WORD_MS for index in range(5)] + [1000 + 5 * WORD_MS + 600]
    for word, start in zip(heard.words, starts, strict=True):
        assert abs(word.start_ms - start) <= 20
        assert abs(word.end_ms - start - 150) <= 20
        assert word.confidence == pytest.approx(0.9)


async def test_silence_is_no_text(engine: GoogleEngine) -> None:
    heard = await hear(engine, silence(1500))
    assert (heard.text, heard.suppressed) == ("", "no_speech")


async def test_what_is_settled_is_stable_and_the_rest_is_not(engine: GoogleEngine) -> None:
    first, second = sentence(4), sentence(4, first=4)
    stream = engine.open(StreamOptions())
    await feed(stream, spoken(first))
    interim = await stream.newer(0)
    while interim.text.split() != first:
        assert interim.stable == ""
        interim = await stream.newer(interim.version)
    await feed(stream, silence(500))
    while not interim.stable:
        interim = await stream.newer(interim.version)
    assert interim.stable == " ".join(first)
    await feed(stream, spoken(second))
    while interim.text.split() != first + second:
        assert interim.text.startswith(interim.stable)
        interim = await stream.newer(interim.version)
    assert interim.stable == " ".join(first)
    assert (await stream.finish()).text == " ".join(first + second)


async def test_requests_are_small_and_not_too_fast() -> None:
    said = sentence(40)
    with google_server(ServiceLimits(rate=8.5, ahead_s=3)) as strict:
        engine = await started(strict, replay_rate=8)
        stream = engine.open(StreamOptions())
        stream.push(spoken(said))  # 8 s at once
        began = time.monotonic()
        await stream.room()
        assert time.monotonic() - began > 0.2
        assert (await stream.finish()).text.split() == said
        assert max(strict.streams[0].chunks) <= 15_000
        await engine.close()


async def test_a_piece_of_a_recording(server: GoogleServer, engine: GoogleEngine) -> None:
    said = sentence(6)
    request = DecodeRequest(spoken(said), final=True, language="en", word_timestamps=True)
    heard = await engine.transcribe(request)
    assert heard.text.split() == said
    assert [word.word for word in heard.words] == said
    server.broken = Fault("PERMISSION_DENIED")
    with pytest.raises(GoogleError, match="role"):
        await engine.transcribe(request)


def test_phrases_are_what_google_takes() -> None:
    options = StreamOptions(None, "Names: Lan,  Nguyen.\nLan; " + "long " * 60, ("Lan", "IBAN"))
    phrases = phrases_of(options)
    assert phrases[:4] == ["Lan", "IBAN", "Names: Lan", "Nguyen"]
    assert len(phrases) == len(set(phrases))
    assert max(map(len, phrases)) <= 100


# Longer than a stream.


@pytest.mark.parametrize("words", [3, 7])
async def test_speech_with_pauses_is_rolled_at_them(server: GoogleServer, words: int) -> None:
    said = sentence(60)
    parts = [
        joined(spoken(said[at : at + words]), silence(400)) for at in range(0, len(said), words)
    ]
    server.limits = ServiceLimits(rate=1.25 * FAST, longest_s=5.0)
    engine = await started(server, roll_s=2.0, longest_stream_s=4.5)
    heard = await hear(engine, joined(*parts))
    assert [word.word for word in heard.words] == said
    assert heard.text.split() == said
    assert len(server.streams) > 3
    # A busy machine may hear of a pause too late, but hardly twice.
    late = [stream.audio_s for stream in server.streams if stream.audio_s >= 4.6]
    assert len(late) <= 1, "at the pauses, not at the end"
    await engine.close()


@pytest.mark.parametrize("offset_ms", [0, 37, 74, 111, 148, 185])
async def test_endless_speech_is_cut_between_words(server: GoogleServer, offset_ms: int) -> None:
    """Wherever the cut falls; nothing is lost or doubled, and times go on."""
    said = sentence(60)
    server.limits = ServiceLimits(rate=1.25 * FAST, longest_s=5.0)
    engine = await started(server, roll_s=2.0, longest_stream_s=4.0)
    heard = await hear(engine, joined(silence(offset_ms), spoken(said)))
    assert heard.text.split() == said
    for index, word in enumerate(heard.words):
        assert abs(word.start_ms - offset_ms - index * WORD_MS) <= 30
    assert len(server.streams) >= 3
    await engine.close()


async def test_promises_hold_over_all_streams(server: GoogleServer) -> None:
    said = sentence(50)
    server.limits = ServiceLimits(rate=1.25 * FAST, longest_s=5.0)
    engine = await started(server, roll_s=1.0, longest_stream_s=3.0)
    stream = engine.open(StreamOptions())
    promised = [""]

    async def watch() -> None:
        version = -1
        while (interim := await stream.newer(version)).version > version:
            version = interim.version
            assert interim.text.startswith(interim.stable)
            assert interim.stable.startswith(promised[-1])
            promised.append(interim.stable)

    watching = asyncio.create_task(watch())
    gaps = [silence(450 if index % 11 == 10 else 0) for index in range(len(said))]
    await feed(
        stream,
        joined(*(joined(spoken([word]), gap) for word, gap in zip(said, gaps, strict=True))),
    )
    final = await stream.finish()
    await watching
    assert final.text.split() == said
    assert final.text.startswith(promised[-1])
    assert len(promised[-1]) > 10
    await engine.close()


async def test_silence_outlives_streams_too(server: GoogleServer) -> None:
    server.limits = ServiceLimits(rate=1.25 * FAST, longest_s=5.0)
    engine = await started(server, roll_s=2.0, longest_stream_s=4.0)
    heard = await hear(engine, joined(spoken(["w5"]), silence(15_000), spoken(["w8"])))
    assert heard.text == "w5 w8"
    assert abs(heard.words[1].start_ms - 15_200) <= 20
    assert len(server.streams) >= 3
    assert {stream.ended for stream in server.streams[:-1]} <= {"OK", "cancelled"}
    await engine.close()


async def test_a_stream_without_audio_is_ended_before_the_service_does(
    server: GoogleServer,
) -> None:
    server.limits = ServiceLimits(rate=1.25 * FAST, idle_s=0.6)
    engine = await started(server, idle_s=0.3)
    stream = engine.open(StreamOptions(word_timestamps=True))
    await feed(stream, spoken(sentence(5)))
    await asyncio.sleep(1.2)
    [ended] = (one.ended for one in server.streams)  # none is opened meanwhile
    assert ended in {"OK", "cancelled"}, "by us: the service's word would be idle"
    await feed(stream, spoken(sentence(5, first=5)))
    final = await stream.finish()
    assert final.text.split() == sentence(10)
    assert len(server.streams) == 2
    await engine.close()


async def test_the_end_right_after_a_rest_opens_no_other_stream(server: GoogleServer) -> None:
    engine = await started(server, idle_s=0.2)
    stream = engine.open(StreamOptions())
    await feed(stream, spoken(sentence(5)))
    await asyncio.sleep(0.6)
    began = time.monotonic()
    assert (await stream.finish()).text.split() == sentence(5)
    assert time.monotonic() - began < 5
    assert len(server.streams) == 1
    await engine.close()


# Faults.


@pytest.mark.parametrize("status", ["UNAVAILABLE", "ABORTED", "INTERNAL", "OUT_OF_RANGE"])
@pytest.mark.parametrize("after_s", [0.0, 1.53])
async def test_a_lost_stream_is_opened_again_and_no_word_is_lost(
    server: GoogleServer, engine: GoogleEngine, status: str, after_s: float
) -> None:
    said = sentence(12)
    server.faults = [Fault(status, after_s)]
    heard = await hear(engine, joined(spoken(said[:5]), silence(400), spoken(said[5:])))
    assert heard.text.split() == said
    assert len(server.streams) == 2


async def test_a_stream_that_is_lost_with_its_last_words_is_heard_again(
    server: GoogleServer, engine: GoogleEngine
) -> None:
    said = sentence(8)
    server.faults = [Fault("UNAVAILABLE", at_end=True)]
    assert (await hear(engine, spoken(said))).text.split() == said


async def test_a_stream_that_is_lost_when_it_is_cut_is_heard_again(server: GoogleServer) -> None:
    said = sentence(30)
    server.limits = ServiceLimits(rate=1.25 * FAST, longest_s=8.0)
    server.faults = [Fault("INTERNAL", at_end=True)]
    engine = await started(server, roll_s=2.0, longest_stream_s=4.0)
    assert (await hear(engine, spoken(said))).text.split() == said
    await engine.close()


async def test_a_service_that_stays_away_is_told(
    server: GoogleServer, engine: GoogleEngine
) -> None:
    server.broken = Fault("UNAVAILABLE")
    began = time.monotonic()
    with pytest.raises(GoogleError, match="cannot be reached"):
        await hear(engine, spoken(sentence(12)))
    assert time.monotonic() - began < 5
    assert len(server.streams) == 2, "the first and one more"


async def test_a_service_that_drops_every_stream_is_used_for_what_it_gives(
    server: GoogleServer, engine: GoogleEngine
) -> None:
    """As long as each stream answers."""
    said = sentence(24)
    server.faults = [Fault("ABORTED", 2.0), Fault("ABORTED", 2.0), Fault("ABORTED", 2.0)]
    parts = [joined(spoken(said[at : at + 4]), silence(400)) for at in range(0, 24, 4)]
    assert (await hear(engine, joined(*parts))).text.split() == said


@pytest.mark.parametrize(
    ("status", "helps", "lasting"),
    [
        ("UNAUTHENTICATED", "GOOGLE_APPLICATION_CREDENTIALS", True),
        ("PERMISSION_DENIED", "role", True),
        ("NOT_FOUND", "recognizer", True),
        ("INVALID_ARGUMENT", "engine.google.model", False),
        ("RESOURCE_EXHAUSTED", "quota", False),
        ("DEADLINE_EXCEEDED", "in time", False),
        ("UNIMPLEMENTED", "UNIMPLEMENTED", False),
    ],
)
async def test_errors_say_what_helps(
    server: GoogleServer, engine: GoogleEngine, status: str, helps: str, lasting: bool
) -> None:
    server.broken = Fault(status, after_s=0.5)
    with pytest.raises(GoogleError, match=helps) as caught:
        await hear(engine, spoken(sentence(12)))
    assert (caught.value.status, caught.value.lasting) == (status, lasting)
    assert len(server.streams) == 1, "the same again would help nobody"


async def test_a_service_that_hangs_is_given_up(server: GoogleServer) -> None:
    engine = await started(server, final_timeout_s=0.3)
    server.broken = Fault("HANG", after_s=0.5)
    stream = engine.open(StreamOptions())
    await feed(stream, spoken(sentence(6)))
    began = time.monotonic()
    with pytest.raises(GoogleError, match="in time"):
        await stream.finish()
    assert time.monotonic() - began < 5
    await engine.close()


async def test_nobody_listens_at_the_address(server: GoogleServer) -> None:
    engine = await started(server, endpoint="127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(GoogleError, match="cannot be reached"):
        await hear(engine, spoken(["w5"]))
    assert time.monotonic() - began < 5
    await engine.close()


async def test_who_waits_for_news_of_a_lost_stream_is_told(
    server: GoogleServer, engine: GoogleEngine
) -> None:
    server.broken = Fault("PERMISSION_DENIED")
    stream = engine.open(StreamOptions())
    stream.push(spoken(["w5"]))
    with pytest.raises(GoogleError):
        await asyncio.wait_for(stream.newer(0), 10)
    stream.push(spoken(["w5"]))
    await stream.room()
    with pytest.raises(GoogleError):
        await stream.finish()


async def test_closing_ends_the_call(server: GoogleServer, engine: GoogleEngine) -> None:
    before = len(asyncio.all_tasks())
    stream = engine.open(StreamOptions())
    await feed(stream, spoken(sentence(3)))
    await stream.newer(0)
    stream.close()
    stream.close()
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > before or server.streams[0].ended != "cancelled":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# Before it runs.


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    with pytest.raises(EngineError, match="uv sync --group google"):
        GoogleEngine(GoogleConfig()).load()


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    with pytest.raises(EngineError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        GoogleEngine(GoogleConfig()).load()
