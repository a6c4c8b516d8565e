from collections.abc import Callable

import pytest

from services.asr.messages import Final, Partial, ServerMessage, SpeechStarted, Stopped
from services.bench.caller import Call
from services.bench.measure import measure_level
from services.bench.results import LevelResult, OfflineResult, OfflineText, ServiceLoad, Wer
from services.bench.script import Script, Spoken
from services.bench.wer import Scorer, WordErrors
from services.bench.wire import Wire
from services.shared.audio.pcm import AudioFormat, Encoding
from services.shared.protocol.base import ErrorCode, ProtocolError

MakeFinal = Callable[..., Final]
MakePartial = Callable[..., Partial]
MakeSpoken = Callable[..., Spoken]
Arrivals = list[tuple[float, ServerMessage]]

WIRE = Wire(AudioFormat(Encoding.PCM_S16LE, 16_000))
LOAD = ServiceLoad(
    cpu_percent=None,
    cpu_percent_max=None,
    rss_mb=None,
    rss_mb_max=None,
    loop_lag_p99_ms=None,
    generator_cpu_percent=1.0,
    other_cpu_percent=2.0,
)
STOPPED = Stopped(received_ms=10_000, speech_ms=2000, dropped_ms=0)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer()


def _call(spoken: list[Spoken], events: Arrivals, error: str | None = None) -> Call:
    return Call(Script(WIRE, (), tuple(spoken), 10.0), events, [0.001, 0.003], 10.0, error)


def _measure(
    calls: list[Call], scorer: Scorer, offline: OfflineResult | None = None
) -> LevelResult:
    return measure_level(calls, 10.0, LOAD, scorer, offline)


def test_a_good_call(
    final: MakeFinal, partial: MakePartial, spoken: MakeSpoken, scorer: Scorer
) -> None:
    said = [spoken("hello there friend", 1.0, 2.0), spoken("bye", 4.0, 5.0)]
    events: Arrivals = [
        (1.3, SpeechStarted(start_ms=1000)),
        (1.5, partial("hollow")),
        (1.9, partial("hello there", "hello")),
        (2.3, final("Hello, fair friend.", 1000, 2000, decode_ms=80)),
        (4.2, SpeechStarted(start_ms=4000)),
        (5.5, final("Bye!", 4000, 5000, decode_ms=100)),
        (10.0, STOPPED),
    ]
    level = _measure([_call(said, events)], scorer)
    assert (level.wer.words, level.wer.substitutions) == (4, 1)
    assert level.wer.percent == 25.0
    assert (level.final_ms.count, level.final_ms.p50) == (2, 400.0)
    assert level.passages[0].speech_ms == ((1000.0, 2000.0),)
    assert [(turn.start_ms, turn.arrived_ms) for turn in level.passages[1].turns] == [(4000, 5500)]
    assert level.first_partial_ms.p50 == 500.0
    assert level.partial_gap_ms.p50 == 400.0
    assert level.flicker == 0.5  # "hollow" and "there" of four words
    assert level.timings is not None
    assert (level.timings.decode_ms, level.timings.batch_size) == (90.0, 2.0)
    assert level.lateness_ms.max == 3.0
    assert level.retractions == 1  # the capital letter: "hello" was promised
    assert level.losses == ["1 stable_text retractions"]


def test_levels_add_up_over_callers(final: MakeFinal, spoken: MakeSpoken, scorer: Scorer) -> None:
    right: Arrivals = [(2.3, final("left right", 1000, 2000)), (10.0, STOPPED)]
    wrong: Arrivals = [(2.5, final("left light", 1000, 2000)), (10.0, STOPPED)]
    said = [spoken("left right", 1.0, 2.0)]
    level = _measure([_call(said, right), _call(said, wrong)], scorer)
    assert (level.concurrency, level.utterances, level.wer.percent) == (2, 2, 25.0)
    assert [passage.caller for passage in level.passages] == [0, 1]
    assert [passage.errors for passage in level.passages] == [0, 1]
    assert level.losses == []


def test_losses_are_told(final: MakeFinal, spoken: MakeSpoken, scorer: Scorer) -> None:
    said = [spoken("one", 1.0, 2.0), spoken("two", 4.0, 5.0)]
    events: Arrivals = [
        (1.3, SpeechStarted(start_ms=1000)),
        (2.3, final("one", 1000, 2000)),
        (4.3, SpeechStarted(start_ms=4000)),
        (10.0, Stopped(received_ms=9500, speech_ms=1, dropped_ms=20)),
    ]
    level = _measure([_call(said, events)], scorer)
    assert (level.missing, level.unended, level.lost_audio_ms) == (1, 1, 520.0)
    assert level.wer.deletions == 1
    assert level.losses == [
        "1 recordings without a final",
        "1 turns never ended",
        "520 ms of audio lost",
    ]


def test_failed_calls_are_told(spoken: MakeSpoken, scorer: Scorer) -> None:
    said = [spoken("one", 1.0, 2.0)]
    refused = ProtocolError(ErrorCode.SHUTTING_DOWN, "later").to_message()
    calls = [_call(said, [], "gone"), _call(said, [(1.0, refused)])]
    level = _measure(calls, scorer)
    assert level.call_errors == (
        "gone",
        "shutting_down: later",
        "the service closed the call before it was over",
    )
    assert "3 calls failed" in level.losses


def test_words_in_pauses_count_as_insertions(
    final: MakeFinal, spoken: MakeSpoken, scorer: Scorer
) -> None:
    events: Arrivals = [
        (2.3, final("one", 1000, 2000)),
        (6.0, final("thank you", 5000, 5500)),
        (7.0, final("", 6500, 6800, suppressed="no_speech")),
        (10.0, STOPPED),
    ]
    level = _measure([_call([spoken("one", 1.0, 2.0)], events)], scorer)
    assert (level.in_pauses, level.in_pauses_words, level.suppressed) == (2, 2, 1)
    assert (level.wer.insertions, level.wer.words) == (2, 1)


def test_offline_is_compared_over_the_same_utterances(
    final: MakeFinal, spoken: MakeSpoken, scorer: Scorer
) -> None:
    wer = Wer.of(WordErrors(words=4, substitutions=1))
    offline = OfflineResult(
        model="m",
        wer={"beam 1": wer},
        real_time_factor={"beam 1": 0.1},
        texts={
            "left right": {"beam 1": OfflineText(text="left light", errors=1, seconds=0.1)},
            "three four": {"beam 1": OfflineText(text="three four", errors=0, seconds=0.1)},
        },
    )
    events: Arrivals = [(2.3, final("left right", 1000, 2000)), (10.0, STOPPED)]
    level = _measure([_call([spoken("left right", 1.0, 2.0)], events)], scorer, offline)
    assert level.offline_wer["beam 1"].percent == 50.0
    assert (level.passages[0].offline, level.passages[0].offline_errors) == ("left light", 1)
