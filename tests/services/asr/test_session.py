"""The session as its client sees it; what must hold however the time runs is in the second half."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.asr.commands import Cancel, Decode, End, Judge, Leave, Listen
from services.asr.degradation import Level
from services.asr.endpointing import EndpointingOptions
from services.asr.messages import (
    Final,
    Partial,
    SpeechStarted,
    Start,
    Stop,
    Stopped,
    TurnMode,
    TurnOptions,
    TurnPending,
    TurnResumed,
)
from services.asr.session import Session
from services.asr.session_options import SessionOptions
from services.asr.vad.base import FRAME_MS, FRAME_SAMPLES
from services.shared.protocol.base import ErrorCode, Message, ProtocolError
from tests.services.asr.harness import Answer, Rehearsal, span, turns

SILENCE = Start(turn=TurnOptions(mode=TurnMode.SILENCE))
MANUAL = Start(turn=TurnOptions(mode=TurnMode.MANUAL))


def heard(rehearsal: Rehearsal) -> list[str]:
    """The words of all finals; those that a cut goes through count as whole."""
    return [word.rstrip("?") for final in rehearsal.finals for word in final.text.split()]


def length(final: Final) -> int:
    """Samples that it was recognised from."""
    start, end = span(final) or (0, 0)
    return end - start


# Turns.


def test_a_turn_from_its_first_sound_to_the_goodbye() -> None:
    call = Rehearsal()
    call.silence(320)
    call.speak(1600)
    call.silence(640)
    call.stop()
    kinds = [type(message) for message in call.log]
    assert kinds[0] is SpeechStarted
    assert kinds[-2:] == [Final, Stopped]
    [final] = call.finals
    assert (final.start_ms, final.end_ms) == (320, 1920)
    assert final.text.split() == call.words(0, 32_000)
    assert call.all(SpeechStarted)[0].start_ms == 320
    assert call.all(Stopped) == [Stopped(received_ms=2560, speech_ms=1600, dropped_ms=0)]
    assert call.ended


def test_yes_survives() -> None:
    call = Rehearsal()
    call.silence(960)
    call.speak(160)
    call.silence(320)
    [final] = call.finals
    assert final.turn_end
    assert final.text == "w5"
    assert (span(final) or (-1, -1))[0] == (960 - 500) * 16, "the pre-roll is recognised, too"


def test_a_click_starts_nothing() -> None:
    call = Rehearsal()
    call.silence(480)
    call.speak(32)
    call.silence(960)
    call.stop()
    assert [type(message) for message in call.log] == [Stopped]


def test_the_turn_ends_when_the_client_sends_nothing_any_more() -> None:
    call = Rehearsal()
    call.speak(960)
    call.wait(3.0)
    [final] = call.finals
    assert final.turn_end
    assert call.now - 103.96 < 0.1, "real time only"


@pytest.mark.parametrize("chunk", [320, 1600, 4000, 8000, 16_000])
def test_a_client_that_sends_seldom_is_not_silent_meanwhile(chunk: int) -> None:
    call = Rehearsal(start=Start(turn=TurnOptions(mode=TurnMode.SILENCE, silence_ms=300)))
    call.speak(4000, [chunk])
    assert call.all(TurnPending) == []
    assert call.finals == []
    call.wait(2.0)
    assert len(call.finals) == 1


def test_the_turn_model_ends_a_turn_at_the_first_pause() -> None:
    call = Rehearsal(answers=[Answer(probability=0.9)])
    call.speak(960)
    call.silence(256)
    [final] = call.finals
    assert final.turn_end
    assert final.timings.vad_wait_ms == 192  # 200 to the nearest frame


def test_the_turn_model_is_asked_before_its_answer_counts() -> None:
    call = Rehearsal(start=Start(partials=False), answers=[Answer(probability=0.9)])
    call.speak(960)
    call.silence(160)
    [question] = [command for command in call.commands if isinstance(command, Judge)]
    assert len(question.audio) == (960 + 200) * 16, "as if the silence had gone on"
    assert not question.audio[-40 * 16 :].any()
    assert call.finals == []
    call.silence(32)
    assert len(call.finals) == 1


def test_a_sound_at_the_moment_of_decision_is_waited_for() -> None:
    """It may be speech: one more frame tells."""
    call = Rehearsal(start=Start(partials=False), answers=[Answer(probability=0.9)])
    call.speak(960)
    call.silence(160)
    call.speak(64)
    assert call.finals == []
    call.silence(160)
    call.speak(32)  # too short for speech
    assert call.finals == []
    call.silence(32)
    assert len(call.finals) == 1


def test_a_late_answer_of_the_turn_model_counts_at_once() -> None:
    call = Rehearsal(start=Start(partials=False), answers=[Answer(), Answer(0.25, probability=0.9)])
    call.speak(960)
    call.silence(384)
    assert call.finals == []
    call.silence(64)
    [final] = call.finals
    assert 400 <= final.timings.vad_wait_ms <= 450


def test_the_turn_model_is_asked_again() -> None:
    incomplete, complete = Answer(probability=0.2), Answer(probability=0.8)
    start = Start(partials=False)
    call = Rehearsal(start=start, answers=[incomplete, incomplete, complete])
    call.speak(960)
    call.silence(480)
    assert call.finals == []
    call.silence(64)
    assert len(call.finals) == 1
    assert len([command for command in call.commands if isinstance(command, Judge)]) == 2


def test_silence_alone_ends_a_turn_that_sounds_unfinished() -> None:
    call = Rehearsal(answers=[Answer(probability=0.1)])
    call.speak(960)
    call.silence(1984)
    assert call.finals == []
    call.silence(32)
    assert len(call.finals) == 1


def test_the_turn_model_hears_the_last_eight_seconds_of_the_whole_turn() -> None:
    call = Rehearsal(answers=[Answer(probability=0.1)])
    call.silence(640)
    call.speak(3200)
    call.silence(256)
    call.speak(12_800)
    call.silence(256)
    first, second = [command for command in call.commands if isinstance(command, Judge)]
    assert len(first.audio) < 5 * 16_000
    assert len(second.audio) == 8 * 16_000 + 40 * 16


def test_a_judgement_of_an_earlier_pause_ends_no_turn() -> None:
    """It comes in the next pause, as if its cancellation had come too late."""
    at_once, late_yes, no = Answer(), Answer(0.4, probability=1.0), Answer(probability=0.0)
    answers = [at_once, late_yes, at_once, no]
    call = Rehearsal(start=Start(partials=False), answers=answers, late=True)
    call.speak(960)
    call.silence(224)
    call.speak(128)
    call.silence(416)
    assert len([command for command in call.commands if isinstance(command, Judge)]) == 2
    assert call.finals == []


def test_mode_silence_asks_no_model() -> None:
    call = Rehearsal(start=SILENCE)
    call.speak(960)
    call.silence(576)
    assert call.finals == []
    call.silence(32)
    assert len(call.finals) == 1
    assert not [command for command in call.commands if isinstance(command, Judge)]


def test_mode_manual_ends_turns_on_flush_only() -> None:
    call = Rehearsal(start=MANUAL)
    call.speak(960)
    call.silence(9600)
    call.speak(960)
    call.silence(9600)
    call.wait(5)
    assert call.finals == []
    call.flush()
    [final] = call.finals
    assert final.turn_end
    assert final.text.split() == call.words(0, len(call.voiced))


def test_an_hour_of_silence_in_a_manual_turn_needs_no_model() -> None:
    call = Rehearsal(start=MANUAL)
    call.speak(960)
    call.silence(300_000, [16_000])
    call.speak(960)
    call.flush()
    assert len(call.decodes(final=True)) == 2
    assert heard(call) == call.words(0, len(call.voiced))


def test_speech_that_goes_on_resumes_the_turn() -> None:
    call = Rehearsal(start=SILENCE)
    call.speak(960)
    call.silence(256)
    [pending] = call.all(TurnPending)
    assert pending.text.split() == call.words(0, len(call.voiced))
    call.speak(640)
    assert len(call.all(TurnResumed)) == 1
    call.silence(640)
    [final] = call.finals
    assert final.text.split() == call.words(0, len(call.voiced))


def test_the_final_was_begun_before_the_turn_was_over() -> None:
    call = Rehearsal(start=SILENCE, answers=[Answer(0.3)])
    call.speak(960)
    call.silence(640)
    [final] = call.finals
    assert final.timings.speculative
    assert final.timings.decode_ms == 300
    assert final.timings.total_ms == final.timings.vad_wait_ms


def test_a_promise_is_made_and_kept() -> None:
    call = Rehearsal(answers=[Answer(0.1)])
    call.speak(4000)
    call.silence(640)
    stable = [partial.stable_text for partial in call.all(Partial)]
    assert stable[-1]
    assert call.finals[0].text.startswith(stable[-1])


def test_no_partials_for_those_who_want_none() -> None:
    call = Rehearsal(start=Start(partials=False))
    call.speak(4000)
    assert call.log == [SpeechStarted(start_ms=0)]
    assert call.decodes(final=False) == []


@pytest.mark.parametrize(
    ("takes_s", "every_ms"),
    [(0.01, 250), (0.4, 800), (1.0, 1500), (3.0, 3000)],
    ids=["idle", "busy", "full", "overloaded"],
)
def test_partials_come_more_rarely_when_the_engine_is_slow(takes_s: float, every_ms: int) -> None:
    call = Rehearsal(answers=[Answer(takes_s)])
    call.speak(14_000)
    asked = [len(job.request.audio) // 16 for job in call.decodes(final=False)]
    gaps = [after - before for before, after in zip(asked[1:], asked[2:], strict=False)]
    assert gaps
    assert all(abs(gap - every_ms) <= 2 * FRAME_MS for gap in gaps), gaps


def test_the_first_partial_of_a_turn_is_soon_even_when_the_engine_is_slow() -> None:
    call = Rehearsal(answers=[Answer(1.0)])
    for _ in range(2):
        call.speak(4000)
        call.silence(3000)
    first, second = call.all(SpeechStarted)
    partials = call.all(Partial)
    ends = [
        min(each.end_ms for each in partials if each.end_ms > at.start_ms) for at in (first, second)
    ]
    assert ends[1] - second.start_ms == pytest.approx(ends[0] - first.start_ms, abs=2 * FRAME_MS)


# Flush and stop.


def test_a_flush_in_silence_is_answered() -> None:
    call = Rehearsal()
    call.flush()
    call.silence(320)
    call.flush()
    assert [(final.text, final.turn_end) for final in call.finals] == [("", True)] * 2
    assert call.decodes(final=True) == []


def test_each_flush_is_answered_while_the_engine_is_slow() -> None:
    call = Rehearsal(answers=[Answer(2.0)])
    call.speak(960)
    for _ in range(3):
        call.flush()
    assert call.finals == []
    call.wait(3)
    assert [bool(final.text) for final in call.finals] == [True, False, False]
    assert all(final.turn_end for final in call.finals)


def test_a_flush_in_a_pause_takes_the_final_that_was_begun() -> None:
    call = Rehearsal(answers=[Answer(1.0)], start=Start(partials=False))
    call.speak(960)
    call.silence(128)
    call.flush()
    call.wait(1)
    [final] = call.finals
    assert final.timings.speculative
    assert len(call.decodes(final=True)) == 1


def test_a_flush_includes_the_sound_after_a_pause() -> None:
    """One voiced frame does not resume a turn by itself, but the client says that it is over."""
    call = Rehearsal(start=SILENCE)
    call.speak(960)
    call.silence(192)
    call.speak(32)
    call.flush()
    [final] = call.finals
    assert span(final) == (0, len(call.voiced))
    assert len(call.all(TurnPending)) == len(call.all(TurnResumed)) == 1


def test_a_sound_as_the_turn_times_out_belongs_to_the_next_turn() -> None:
    call = Rehearsal(start=SILENCE)
    call.speak(960)
    call.silence(576)
    call.speak(640)
    call.silence(640)
    first, second = call.finals
    assert call.all(TurnPending)[0].text == first.text
    assert call.all(TurnResumed) == []
    assert second.start_ms == 960 + 576
    assert heard(call) == call.words(0, len(call.voiced))


def test_stop_hears_the_last_unfinished_frame() -> None:
    call = Rehearsal()
    call.speak(1010)
    call.stop()
    [final] = call.finals
    assert span(final) == (0, 1010 * 16)


def test_stop_hears_a_sound_too_short_to_start_a_turn() -> None:
    call = Rehearsal()
    call.silence(960)
    call.speak(64)
    call.stop()
    assert [final.turn_end for final in call.finals] == [True]
    assert call.log[-1] == Stopped(received_ms=1024, speech_ms=64, dropped_ms=0)


def test_stop_while_the_turn_model_thinks() -> None:
    call = Rehearsal(start=Start(partials=False), answers=[Answer(0.0), Answer(5.0)])
    call.speak(960)
    call.silence(256)
    call.stop()
    assert [type(message) for message in call.log[-2:]] == [Final, Stopped]
    judges = [command.job_id for command in call.commands if isinstance(command, Judge)]
    assert Cancel(judges[0]) in call.commands


def test_nothing_is_dropped_when_there_is_no_whole_millisecond() -> None:
    call = Rehearsal()
    call.take_in([False] * 10)
    call.stop()
    assert call.all(Stopped)[0].dropped_ms == 0


def test_the_part_of_a_frame_before_stop_is_no_earlier_than_the_flush_before_it() -> None:
    call = Rehearsal()
    call.silence(32)
    call.flush()
    call.speak(2)
    call.stop()
    assert [(final.start_ms, final.end_ms) for final in call.finals] == [(32, 32), (32, 34)]


# Endless speech.


def test_an_endless_turn_is_cut() -> None:
    call = Rehearsal(answers=[Answer(0.2)])
    call.speak(70_000, [1600])
    call.flush()
    call.wait(1)
    assert [final.turn_end for final in call.finals] == [False, False, True]
    for final in call.finals:
        assert length(final) <= 28_000 * 16 + 512
    ends = [(span(final) or (0, 0))[1] for final in call.finals]
    assert ends[0] >= 24_000 * 16
    assert heard(call) == call.words(0, len(call.voiced))


def test_a_long_segment_ends_at_a_pause() -> None:
    call = Rehearsal(start=SILENCE)
    call.speak(15_040, [1600])
    call.silence(256)
    call.speak(960)
    first = call.finals[0]
    assert (first.turn_end, first.end_ms) == (False, 15_040)
    call.flush()
    assert call.finals[1].start_ms == 15_040 + 256
    assert heard(call) == call.words(0, len(call.voiced))


@pytest.mark.parametrize(
    ("spoken_ms", "sentences", "finals"), [(7040, True, 2), (7040, False, 1), (4000, True, 1)]
)
def test_a_segment_of_some_length_is_closed_after_a_sentence(
    spoken_ms: int, sentences: bool, finals: int
) -> None:
    """So that the last final of a long turn is quick; else one is decoded in one piece."""
    call = Rehearsal(answers=[Answer(probability=0.1)], sentences=sentences)
    call.speak(spoken_ms)
    call.silence(128)
    call.speak(960)
    call.flush()
    assert [final.turn_end for final in call.finals] == [False] * (finals - 1) + [True]
    assert call.finals[0].text.endswith(".") is (finals == 2)


def test_a_long_segment_of_a_stream_ends_in_the_pause_itself() -> None:
    """Not before it, when the stream has heard the pause, and whether or not more is said."""
    call = Rehearsal(SessionOptions(streaming=True), start=SILENCE)
    call.speak(16_000)
    call.silence(320)
    [first] = call.finals
    assert not first.turn_end
    assert first.end_ms == 16_000
    call.silence(640)
    assert [(final.text, final.turn_end) for final in call.finals[1:]] == [("", True)]


def test_a_stream_is_not_ended_on_trial() -> None:
    call = Rehearsal(SessionOptions(streaming=True), answers=[Answer(probability=0.1)])
    call.speak(960)
    call.silence(400)
    call.speak(960)
    assert call.decodes(final=True) == []
    assert len([command for command in call.commands if isinstance(command, Listen)]) == 1
    call.silence(2100)
    [final] = call.finals
    assert final.text.split() == call.words(0, len(call.voiced))


def test_a_pause_across_the_length_limit_is_no_cut() -> None:
    """The turn is pending: its one final is what was announced."""
    call = Rehearsal(
        start=Start(turn=TurnOptions(max_silence_ms=30_000)), answers=[Answer(probability=0.0)]
    )
    call.speak(14_080, [1600])
    call.silence(15_040, [1600])
    assert call.finals == []
    call.silence(16_000, [1600])
    [final] = call.finals
    assert final.text == call.all(TurnPending)[0].text


def test_a_request_is_never_longer_than_the_limit_after_a_long_pause() -> None:
    call = Rehearsal(
        start=Start(turn=TurnOptions(max_silence_ms=30_000)), answers=[Answer(probability=0.0)]
    )
    call.speak(14_080, [1600])
    call.silence(28_800, [1600])
    call.speak(960)
    call.flush()
    assert max(len(decode.request.audio) for decode in call.decodes(final=True)) <= 28_000 * 16
    assert heard(call) == call.words(0, len(call.voiced))


# Failures.


def test_a_lost_final_is_an_empty_one_that_says_so() -> None:
    call = Rehearsal(answers=[Answer(fails=True)])
    call.speak(960)
    call.flush()
    [final] = call.finals
    assert (final.text, final.suppressed, final.turn_end) == ("", "engine_failed", True)


def test_a_lost_speculation_is_made_up_for() -> None:
    fails, works = Answer(fails=True), Answer()
    start = SILENCE.model_copy(update={"partials": False})
    call = Rehearsal(start=start, answers=[fails, works])
    call.speak(960)
    call.silence(640)
    [final] = call.finals
    assert final.text.split() == call.words(0, len(call.voiced))
    assert not final.timings.speculative


def test_a_lost_decision_is_left_to_silence() -> None:
    fails = Answer(fails=True)
    call = Rehearsal(start=Start(partials=False), answers=[Answer(), fails, fails, fails])
    call.speak(960)
    call.silence(1984)
    assert call.finals == []
    call.silence(64)
    assert len(call.finals) == 1


# What is refused.


def refusal(call: Rehearsal, message: Start | Stop) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        call.session.receive(message, call.now)
    return caught.value


def test_a_start_after_audio_is_refused() -> None:
    call = Rehearsal()
    call.session.expect_audio()
    assert refusal(call, Start()).code is ErrorCode.UNEXPECTED_MESSAGE


def test_a_second_start_is_refused() -> None:
    assert refusal(Rehearsal(start=Start()), Start()).code is ErrorCode.UNEXPECTED_MESSAGE


def test_anything_after_stop_is_refused() -> None:
    call = Rehearsal()
    call.stop()
    assert refusal(call, Stop()).code is ErrorCode.UNEXPECTED_MESSAGE
    with pytest.raises(ProtocolError, match="after"):
        call.session.expect_audio()


def test_a_language_with_its_region_is_taken() -> None:
    call = Rehearsal(start=Start(language="en-US"))
    call.speak(960)
    call.flush()
    assert call.decodes(final=True)[0].request.language == "en"


def test_a_language_that_the_model_lacks_is_refused_with_those_it_has() -> None:
    call = Rehearsal(SessionOptions(languages=("en", "vi")))
    error = refusal(call, Start(language="xx"))
    assert error.code is ErrorCode.UNSUPPORTED_LANGUAGE
    assert "en, vi" in error.message


# What holds however the time runs.

SMALL = SessionOptions(
    endpointing=EndpointingOptions(max_silence_ms=1500, silence_ms=400),
    partial_every_ms=160,
    partial_after_ms=160,
    settle_ms=320,
    segment_ms=2816,
    commit_ms=1504,
    search_ms=512,
)
"""Everything happens within seconds."""

Step = tuple[str, int]
economies = st.just("economise")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), st.integers(1, 130).map(lambda frames: 32 * frames)),
        st.tuples(st.just("silence"), st.integers(1, 60).map(lambda frames: 32 * frames)),
        st.tuples(st.sampled_from(["speak", "silence"]), st.integers(1, 400)),
        st.tuples(st.sampled_from(["wait", "flush"]), st.integers(1, 2500)),
    ),
    min_size=1,
    max_size=10,
)
answers = st.lists(
    st.builds(
        Answer,
        delay_s=st.sampled_from([0.0, 0.0, 0.02, 0.2, 0.7, 3.0]),
        fails=st.sampled_from([False] * 7 + [True]),
        probability=st.floats(0, 1),
    ),
    min_size=1,
    max_size=7,
)
chunkings = st.one_of(
    st.lists(st.integers(100, 4000), min_size=1, max_size=5),
    st.lists(st.integers(4000, 16_000), min_size=1, max_size=1),
)
"""As clients send: small chunks of all sizes, or large ones of one size."""
modes = st.sampled_from(TurnMode)


def perform(call: Rehearsal, script: Sequence[Step], chunks: Sequence[int]) -> None:
    """Plays a script to its end."""
    for sound, group in groupby(script, lambda step: step[0] in ("speak", "silence")):
        if sound:
            call.play([(ms, what == "speak") for what, ms in group], chunks)
            continue
        for what, ms in group:
            if what == "wait":
                call.wait(ms / 1000)
            elif what == "economise":
                call.economise(Level(ms))
            else:
                call.flush()
    call.stop()


def check_order(log: Sequence[Message]) -> None:
    """Who may follow whom, and what is promised is kept."""
    stable = ""
    pending: str | None = None
    for message in log:
        match message:
            case Partial():
                assert message.text.startswith(message.stable_text)
                assert message.stable_text.startswith(stable)
                assert pending is None
                stable = message.stable_text
            case TurnPending():
                assert message.text.startswith(stable)
                assert pending is None
                pending = message.text
            case TurnResumed():
                assert pending is not None
                pending = None
            case Final():
                assert message.text.startswith(stable) or message.suppressed
                assert pending in (None, message.text)
                assert message.turn_end or pending is None
                stable, pending = "", None
    assert [type(message) for message in log].count(Stopped) == 1
    assert isinstance(log[-1], Stopped)


def check_times(call: Rehearsal, options: SessionOptions) -> None:
    """Finals go forward through the audio, none is too long, and no word comes twice."""
    at = recognised = 0
    for final in call.finals:
        assert at <= final.start_ms <= final.end_ms
        at = final.end_ms
        stretch = span(final)
        if stretch is not None:
            assert recognised <= stretch[0]
            recognised = stretch[1]
            assert stretch[1] - stretch[0] <= options.segment_ms * 16 + 512
    said = [int(word[1:]) for word in heard(call)]
    assert said == sorted(set(said))
    assert at * 16 <= len(call.voiced)


def check_partition(call: Rehearsal) -> None:
    """A turn's finals follow each other without a gap, but for one in which nobody speaks."""
    for finals in turns(call.log):
        stretches = [stretch for stretch in map(span, finals) if stretch is not None]
        for (_, end), (start, _) in itertools.pairwise(stretches):
            assert end <= start
            assert sum(call.voiced[end:start]) < 64 * 16, "less than what resumes a turn"
    for decode in call.decodes(final=True) + call.decodes(final=False):
        assert len(decode.request.audio) <= SMALL.segment_ms * 16 + FRAME_SAMPLES


def check_coverage(call: Rehearsal, script: Sequence[Step]) -> None:
    """What was said for long enough to be speech is in a final.

    But for the last frame: mostly silence, it is none of the speech when the client paused in it.
    """
    at, said = 0, heard(call)
    for what, ms in script:
        if what == "speak" and ms >= 192:
            assert set(call.words(at, at + ms * 16 - FRAME_SAMPLES)) <= set(said)
        if what in ("speak", "silence"):
            at += ms * 16


@given(script=steps, answers=answers, chunks=chunkings, mode=modes, late=st.booleans())
@settings(max_examples=250)
def test_the_contract_holds_whenever_the_models_answer(
    script: list[Step], answers: list[Answer], chunks: list[int], mode: TurnMode, late: bool
) -> None:
    call = Rehearsal(SMALL, Start(turn=TurnOptions(mode=mode)), answers, late=late)
    perform(call, script, chunks)
    check_order(call.log)
    check_times(call, SMALL)
    assert len(list(turns(call.log))) == len(call.all(SpeechStarted)) + call.idle_flushes
    if not any(answer.fails for answer in answers):
        check_coverage(call, script)
        check_partition(call)
    stopped = call.all(Stopped)[0]
    assert stopped.received_ms == round(len(call.voiced) / 16)
    assert stopped.dropped_ms == 0
    assert stopped.speech_ms <= stopped.received_ms
    assert call.commands[-1] == End()
    assert call.ended == 1
    assert call.held_samples <= 16 * (SMALL.segment_ms + 30_000)


def check_listening(call: Rehearsal) -> None:
    """Whoever listens along knows of each segment first, and has heard no more than it holds."""
    announced, end = -1, 0
    for command in call.commands:
        match command:
            case Listen():
                assert end <= command.start
                announced = command.start
            case Decode():
                assert command.start == announced
                assert command.start + len(command.request.audio) >= end
                end = command.start + len(command.request.audio)
            case Cancel():
                assert command.job_id not in {job.job_id for job in call.decodes(final=True)}
    assert call.all(TurnPending) == []
    assert not any(final.timings.speculative for final in call.finals)


@given(script=steps, answers=answers, chunks=chunkings, mode=modes, late=st.booleans())
@settings(max_examples=120)
def test_the_contract_holds_for_engines_that_listen_along(
    script: list[Step], answers: list[Answer], chunks: list[int], mode: TurnMode, late: bool
) -> None:
    options = replace(SMALL, streaming=True)
    call = Rehearsal(options, Start(turn=TurnOptions(mode=mode)), answers, late=late)
    perform(call, script, chunks)
    check_order(call.log)
    check_times(call, options)
    check_listening(call)
    assert len(list(turns(call.log))) == len(call.all(SpeechStarted)) + call.idle_flushes
    if not any(answer.fails for answer in answers):
        check_coverage(call, script)
        check_partition(call)


def is_partial(job: Decode | Judge) -> bool:
    return isinstance(job, Decode) and not job.request.final


def is_judge(job: Decode | Judge) -> bool:
    return isinstance(job, Judge)


@given(
    script=steps, chunks=chunkings, mode=modes, unanswered=st.sampled_from([is_partial, is_judge])
)
@settings(max_examples=60)
def test_finals_wait_for_no_partial_and_no_turn_model(
    script: list[Step],
    chunks: list[int],
    mode: TurnMode,
    unanswered: Callable[[Decode | Judge], bool],
) -> None:
    start = Start(turn=TurnOptions(mode=mode))
    call = Rehearsal(SMALL, start, [Answer(probability=0.4)], unanswered=unanswered)
    perform(call, script, chunks)
    check_order(call.log)
    check_times(call, SMALL)
    check_coverage(call, script)
    check_partition(call)
    assert len(list(turns(call.log))) == len(call.all(SpeechStarted)) + call.idle_flushes


@given(script=steps, chunks=chunkings, mode=modes, delay_s=st.sampled_from([0.0, 0.3]))
@settings(max_examples=60)
def test_every_turn_ends_though_all_models_fail(
    script: list[Step], chunks: list[int], mode: TurnMode, delay_s: float
) -> None:
    start = Start(turn=TurnOptions(mode=mode))
    call = Rehearsal(SMALL, start, [Answer(delay_s, fails=True)])
    perform(call, script, chunks)
    check_order(call.log)
    check_times(call, SMALL)
    assert len(list(turns(call.log))) == len(call.all(SpeechStarted)) + call.idle_flushes
    for final in call.finals:
        assert final.text == ""
        assert final.suppressed in ("engine_failed", None)


@given(script=steps, first=chunkings, second=chunkings)
@settings(max_examples=60)
def test_chunks_do_not_matter(script: list[Step], first: list[int], second: list[int]) -> None:
    script = [step for step in script if step[0] != "wait"]
    start = SILENCE.model_copy(update={"partials": False})
    calls = [Rehearsal(SMALL, start), Rehearsal(SMALL, start)]
    for call, chunks in zip(calls, (first, second), strict=True):
        perform(call, script, chunks)
    one, other = (
        [final.model_dump(exclude={"timings"}) for final in call.finals] for call in calls
    )
    assert one == other


def test_a_silent_hour_is_forgotten() -> None:
    call = Session(SessionOptions())
    second = np.zeros(15_872, dtype=np.float32)
    for at in range(3600):
        call.hear(second, [0.0] * 31, 0.992, float(at))
        assert call._history.end - call._history.start < 4 * 16_000


def test_a_talkative_quarter_of_an_hour_is_forgotten() -> None:
    call = Rehearsal(start=Start(partials=False))
    for _ in range(60):
        call.speak(12_800, [16_000])
        call.silence(2240, [16_000])
    assert len(call.finals) == 60
    assert call.held_samples < 35 * 16_000


# A service that is overloaded.


def test_sparse_partials_come_as_rarely_as_they_may() -> None:
    often, rarely = Rehearsal(start=SILENCE), Rehearsal(start=SILENCE)
    rarely.economise(Level.SPARSE)
    for call in (often, rarely):
        call.speak(6000)
        call.silence(900)
    assert 18 <= len(often.decodes(final=False)) <= 24
    assert 2 <= len(rarely.decodes(final=False)) <= 4
    assert heard(often) == heard(rarely)


def test_finals_only_means_that_nothing_else_is_decoded() -> None:
    call = Rehearsal(start=SILENCE)
    call.economise(Level.FINALS_ONLY)
    call.speak(3000)
    call.silence(900)
    assert call.decodes(final=False) == []
    assert len(call.finals) == 1
    call.economise(Level.NORMAL)
    call.speak(1000)
    call.silence(900)
    assert call.all(Partial)
    assert len(call.finals) == 2


def test_a_partial_that_waits_is_withdrawn() -> None:
    call = Rehearsal(start=SILENCE, unanswered=is_partial)
    call.speak(1000)
    [waiting] = call.decodes(final=False)
    call.economise(Level.FINALS_ONLY)
    assert call.commands[-1] == Cancel(waiting.job_id)
    call.economise(Level.REFUSING)
    assert call.commands.count(Cancel(waiting.job_id)) == 1


@given(
    script=st.lists(
        st.one_of(steps.map(lambda script: script[0]), st.tuples(economies, st.integers(0, 3))),
        min_size=1,
        max_size=14,
    ),
    answers=answers,
    chunks=chunkings,
    mode=modes,
)
@settings(max_examples=80)
def test_the_contract_holds_however_much_is_saved(
    script: list[Step], answers: list[Answer], chunks: list[int], mode: TurnMode
) -> None:
    call = Rehearsal(SMALL, Start(turn=TurnOptions(mode=mode)), answers)
    perform(call, script, chunks)
    check_order(call.log)
    check_times(call, SMALL)
    assert len(list(turns(call.log))) == len(call.all(SpeechStarted)) + call.idle_flushes
    if not any(answer.fails for answer in answers):
        check_coverage(call, [step for step in script if step[0] != "economise"])
        check_partition(call)
    assert call.commands[-1] == End()


# A service that must go.


def test_departing_in_silence_says_nothing_and_leaves() -> None:
    call = Rehearsal(start=SILENCE)
    call.speak(600)
    call.silence(900)
    told = len(call.log)
    assert call.session.resting
    call.depart()
    assert len(call.log) == told
    assert call.commands[-1] == Leave(received_ms=1500, speech_ms=608, dropped_ms=0)
    assert call.ended == 0


def test_departing_ends_an_open_turn_and_waits_for_its_final() -> None:
    call = Rehearsal(start=MANUAL, answers=[Answer(delay_s=2.0)])
    call.speak(1024)
    assert call.session.speaking
    assert not call.session.resting
    call.depart()
    assert heard(call) == call.words(0, 16_384)
    assert [final.turn_end for final in call.finals] == [True]
    assert isinstance(call.commands[-1], Leave)


def test_departing_after_stop_ends_as_the_client_wished() -> None:
    call = Rehearsal(start=SILENCE, answers=[Answer(delay_s=2.0)])
    call.speak(1024)
    call.send(Stop())
    call.depart()
    assert call.ended == 1
    assert isinstance(call.log[-1], Stopped)
    assert not any(isinstance(command, Leave) for command in call.commands)


@given(
    parts=st.lists(st.tuples(st.integers(50, 3000), st.booleans()), max_size=8),
    delay_s=st.sampled_from([0.0, 0.05, 0.4, 2.0]),
    mode=st.sampled_from(list(TurnMode)),
    chunk=st.integers(100, 4000),
)
@settings(max_examples=50)
def test_whenever_it_departs_every_word_is_in_a_final(
    parts: list[tuple[int, bool]], delay_s: float, mode: TurnMode, chunk: int
) -> None:
    call = Rehearsal(start=Start(turn=TurnOptions(mode=mode)), answers=[Answer(delay_s=delay_s)])
    call.play(parts, [chunk])
    call.depart()
    leaves = [command for command in call.commands if isinstance(command, Leave)]
    assert len(leaves) == 1
    assert leaves[0].received_ms == len(call.voiced) // 16
    assert leaves[0].dropped_ms == 0
    assert isinstance(call.commands[-1], Leave), "nothing is said or asked after it"
    starts = call.all(SpeechStarted)
    assert sum(final.turn_end for final in call.finals) == len(starts)
