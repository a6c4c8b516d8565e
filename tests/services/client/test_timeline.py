"""Sessions one after the other as one."""

from services.asr.messages import (
    Ack,
    Final,
    Handover,
    Partial,
    SpeechStarted,
    Stopped,
    Timings,
    Word,
)
from services.client.timeline import Timeline

TIMINGS = Timings(
    vad_wait_ms=1, queue_ms=2, batch_size=1, decode_ms=3, turn_model_ms=4, total_ms=5,
    speculative=False,
)  # fmt: skip


def moved(*durations_ms: int) -> Timeline:
    timeline = Timeline()
    for ms in durations_ms:
        done = Handover(received=9, received_ms=ms, speech_ms=ms // 2, dropped_ms=0)
        timeline.hand_over(done)
    return timeline


def test_the_first_session_is_told_as_it_is() -> None:
    started = SpeechStarted(start_ms=480, event=1)
    assert Timeline().of_all(started) is started


def test_times_go_on_where_the_session_before_ended() -> None:
    timeline = moved(10_000, 5_000)
    assert timeline.of_all(SpeechStarted(start_ms=480)) == SpeechStarted(start_ms=15_480)
    partial = Partial(text="a b", stable_text="a", start_ms=100, end_ms=900)
    assert timeline.of_all(partial) == partial.model_copy(
        update={"start_ms": 15_100, "end_ms": 15_900}
    )
    words = (Word(word="Ask", start_ms=480, end_ms=820, confidence=0.9),)
    final = Final(text="Ask", start_ms=480, end_ms=820, turn_end=True, words=words, timings=TIMINGS)
    told = timeline.of_all(final)
    assert isinstance(told, Final)
    assert (told.start_ms, told.end_ms) == (15_480, 15_820)
    assert told.words is not None
    assert (told.words[0].start_ms, told.words[0].end_ms) == (15_480, 15_820)
    assert told.timings == TIMINGS
    plain = timeline.of_all(final.model_copy(update={"words": None}))
    assert isinstance(plain, Final)
    assert plain.words is None


def test_sums_are_of_all_sessions() -> None:
    stopped = Stopped(received_ms=1000, speech_ms=300, dropped_ms=0)
    assert moved(4000).of_all(stopped) == Stopped(received_ms=5000, speech_ms=2300, dropped_ms=0)
    assert moved(4000).of_all(Ack(received=3)) == Ack(received=3)
