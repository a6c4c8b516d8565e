"""The state machine of a TTS session, driven without clock, thread or socket."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.audio.pcm import Encoding
from services.shared.protocol.base import CloseCode, Error, ErrorCode, ProtocolError
from services.tts.commands import (
    CancelJob,
    Close,
    CloseAudio,
    Command,
    DrainAudio,
    OpenAudio,
    Send,
    SendAudio,
    Synthesize,
)
from services.tts.engines.base import AudioPiece, EngineError, SynthesisRequest
from services.tts.engines.fake import SAMPLE_RATE, FakeEngine
from services.tts.messages import (
    AudioFinished,
    AudioStarted,
    CacheUse,
    Cancel,
    Cancelled,
    ClientMessage,
    End,
    Flush,
    Flushed,
    Pacing,
    Ready,
    ServerMessage,
    Start,
    Text,
    Words,
)
from services.tts.messages import Close as CloseMessage
from services.tts.session import Session, SessionOptions
from services.tts.voices import VoiceCatalogue


@dataclass
class Driver:
    """Carries out a session's commands with the fake engine, one piece at a time when asked."""

    options: SessionOptions = SessionOptions()
    now: float = 100.0
    log: list[Command] = field(default_factory=list)
    """Every command but the jobs, in order."""
    jobs: dict[int, list[AudioPiece | EngineError]] = field(default_factory=dict)
    """What each running job has still to give."""
    requests: list[SynthesisRequest] = field(default_factory=list)
    most_jobs: int = 0

    def __post_init__(self) -> None:
        self.engine = FakeEngine()
        self.session = Session("s1", VoiceCatalogue(self.engine.voices()), self.options)
        self.take(self.session.begin())

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Synthesize():
                    self.requests.append(command.request)
                    self.jobs[command.job_id] = self._make(command.request)
                    self.most_jobs = max(self.most_jobs, len(self.jobs))
                case CancelJob():
                    del self.jobs[command.job_id]
                case _:
                    self.log.append(command)

    def _make(self, request: SynthesisRequest) -> list[AudioPiece | EngineError]:
        made: list[AudioPiece | EngineError] = []
        try:
            made += self.engine.synthesize(request)
        except EngineError as error:
            made.append(error)
        return made

    def send(self, *messages: ClientMessage) -> None:
        for message in messages:
            self.take(self.session.receive(message, self.now))

    def step(self, number: int = 0) -> bool:
        """Let one of the running jobs give one more piece, or end."""
        if not self.jobs:
            return False
        job_id = sorted(self.jobs)[number % len(self.jobs)]
        if not self.jobs[job_id]:
            del self.jobs[job_id]
            self.take(self.session.on_done(job_id, self.now))
            return True
        given = self.jobs[job_id].pop(0)
        if isinstance(given, EngineError):
            del self.jobs[job_id]
            self.take(self.session.on_failed(job_id, given, self.now))
        else:
            self.take(self.session.on_audio(job_id, given, self.now))
        return True

    def finish(self) -> None:
        """Let the engine do all it is asked for, and the time pass that pacing takes."""
        while self.step() or self.wait():
            pass

    def wait(self) -> bool:
        """Let the time pass until the session wants to be woken, if it does."""
        if (wake_at := self.session.wake_at) is None:
            return False
        self.now = max(self.now, wake_at)
        self.take(self.session.tick(self.now))
        return True

    @property
    def messages(self) -> list[ServerMessage]:
        return [entry.message for entry in self.log if isinstance(entry, Send)]  # type: ignore[misc]

    def of(self, kind: type[ServerMessage]) -> list[ServerMessage]:
        return [message for message in self.messages if isinstance(message, kind)]

    def sent_ms(self, context_id: str) -> int:
        audio = (entry for entry in self.log if isinstance(entry, SendAudio))
        samples = sum(len(entry.samples) for entry in audio if entry.context_id == context_id)
        return samples * 1000 // SAMPLE_RATE

    @property
    def spoken(self) -> str:
        """All text that was given to the engine."""
        return " ".join(request.text for request in self.requests)


@pytest.fixture
def driver() -> Driver:
    return Driver()


def refusal(driver: Driver, message: ClientMessage) -> ProtocolError:
    before = len(driver.log)
    with pytest.raises(ProtocolError) as caught:
        driver.send(message)
    assert len(driver.log) == before
    return caught.value


def test_ready_comes_first_and_names_the_voices(driver: Driver) -> None:
    [ready] = driver.messages
    assert isinstance(ready, Ready)
    assert ready.session_id == "s1"
    assert ready.default_voice == "fake-en"
    assert ready.voices == ("fake-en", "fake-vi")


def test_one_context_from_start_to_finish(driver: Driver) -> None:
    driver.send(Start(context_id="a", encoding=Encoding.MULAW, sample_rate=8000))
    driver.send(Text(text="Hello there. How are"), Text(text=" you?"), End())
    driver.finish()
    kinds = [type(entry).__name__ for entry in driver.log]
    assert kinds == [
        "Send",  # ready
        "OpenAudio",
        "Send",  # audio_started
        *["SendAudio"] * 5,
        "DrainAudio",
        "CloseAudio",
        "Send",  # audio_finished
    ]
    assert driver.log[1] == OpenAudio("a", SAMPLE_RATE, Encoding.MULAW, 8000)
    started = AudioStarted(context_id="a", encoding=Encoding.MULAW, sample_rate=8000)
    assert driver.of(AudioStarted) == [started]
    assert [request.text for request in driver.requests] == ["Hello there.", "How are you?"]
    [finished] = driver.of(AudioFinished)
    assert isinstance(finished, AudioFinished)
    assert finished.audio_ms == driver.sent_ms("a") > 0


def test_the_rate_is_the_voices_own_unless_asked_otherwise(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hi."), End())
    driver.finish()
    [started] = driver.of(AudioStarted)
    assert isinstance(started, AudioStarted)
    assert started.sample_rate == SAMPLE_RATE


def test_voice_language_and_speed_reach_the_engine(driver: Driver) -> None:
    driver.send(Start(language="vi", speed=1.5), Text(text="Xin chào."), End())
    [request] = driver.requests
    assert (request.voice, request.language, request.speed) == ("fake-vi", "vi", 1.5)


def test_markup_is_not_spoken_and_silence_makes_no_job(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="**Hi** 😀!\n\n---\n\n🎉 ... "), End())
    driver.finish()
    assert [request.text for request in driver.requests] == ["Hi!"]
    assert driver.of(AudioFinished)


def test_an_empty_context_finishes_without_audio(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text=" "), End())
    assert driver.messages[1:] == [AudioFinished(context_id="a", audio_ms=0)]
    assert [type(entry) for entry in driver.log[1:]] == [Send]


def test_words_are_timed_from_the_contexts_first_sample(driver: Driver) -> None:
    driver.send(Start(context_id="a", word_timestamps=True))
    driver.send(Text(text="Hi there. How now. "), End())
    driver.finish()
    times = []
    for message in driver.of(Words):
        assert isinstance(message, Words)
        times += [(word.word, word.start_ms, word.end_ms) for word in message.words]
    assert times == [
        ("Hi", 0, 80),
        ("there.", 100, 340),
        ("How", 360, 480),
        ("now.", 500, 660),
    ]


def test_words_come_before_their_audio(driver: Driver) -> None:
    driver.send(Start(context_id="a", word_timestamps=True), Text(text="Hi."), End())
    driver.finish()
    entries = driver.log[3:5]
    assert isinstance(entries[0], Send)
    assert isinstance(entries[0].message, Words)
    assert isinstance(entries[1], SendAudio)


def test_no_words_unless_asked_for(driver: Driver) -> None:
    driver.send(Start(), Text(text="Hi."), End())
    driver.finish()
    assert driver.of(Words) == []


def test_flush_speaks_an_unfinished_sentence_and_is_answered(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hello my"), Flush())
    assert driver.of(Flushed) == []
    driver.finish()
    assert driver.of(Flushed) == [Flushed(context_id="a", audio_ms=driver.sent_ms("a"))]
    assert isinstance(driver.log[-2], DrainAudio)
    driver.send(Flush())
    assert len(driver.of(Flushed)) == 2
    driver.send(Text(text=" friend."), End())
    driver.finish()
    assert driver.spoken == "Hello my friend."


def test_contexts_are_spoken_in_the_order_of_their_start(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Start(context_id="b"))
    driver.send(Text(text="Second. ", context_id="b"), End(context_id="b"))
    driver.finish()
    assert driver.sent_ms("b") == 0
    driver.send(Text(text="First. ", context_id="a"), End(context_id="a"))
    driver.finish()
    ids = [entry.context_id for entry in driver.log if isinstance(entry, SendAudio)]
    assert ids == ["a", "b"]
    finished = driver.of(AudioFinished)
    assert [message.context_id for message in finished] == ["a", "b"]  # type: ignore[union-attr]


def test_the_next_context_is_prepared_while_the_last_one_ends(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="First."), End())
    driver.send(Start(context_id="b"), Text(text="Second."), End())
    assert len(driver.jobs) == 2
    driver.step(1)
    assert driver.sent_ms("b") == 0


def test_no_more_than_the_look_ahead_is_synthesised(driver: Driver) -> None:
    driver.send(Start(), Text(text="One. Two. Three. Four. Five. "), End())
    assert [request.text for request in driver.requests] == ["One.", "Two."]
    driver.step(1)
    driver.step(1)
    assert len(driver.requests) == 2, "what waits to be sent counts, too"
    driver.finish()
    assert driver.most_jobs == 2
    assert driver.spoken == "One. Two. Three. Four. Five."


def test_nothing_is_prepared_behind_a_context_whose_text_still_comes(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Start(context_id="b"))
    driver.send(Text(text="Later. ", context_id="b"), End(context_id="b"))
    assert driver.requests == []
    driver.send(End(context_id="a"))
    assert driver.spoken == "Later."


def test_cancel_stops_at_once_and_tells_what_was_said(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hi *there*, my friend. How are you?"), End())
    for _ in range(3):
        driver.step()
    driver.send(Cancel(context_id="a"))
    assert driver.jobs == {}
    assert driver.log[-2] == CloseAudio("a")
    [cancelled] = driver.of(Cancelled)
    assert cancelled == Cancelled(
        context_id="a", sent_ms=driver.sent_ms("a"), spoken_text="Hi *there*, my"
    )
    length = len(driver.log)
    driver.take(driver.session.on_audio(1, AudioPiece(np.ones(9, np.float32)), driver.now))
    driver.take(driver.session.on_done(1, driver.now))
    driver.take(driver.session.on_failed(2, EngineError("late"), driver.now))
    driver.take(driver.session.tick(driver.now + 9))
    assert len(driver.log) == length


def test_a_word_that_was_sent_in_part_was_not_spoken(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hello there."), End())
    [(job_id, pieces)] = driver.jobs.items()
    whole = pieces[0]
    assert isinstance(whole, AudioPiece)
    half = AudioPiece(whole.samples[: len(whole.samples) // 2], whole.words)
    driver.take(driver.session.on_audio(job_id, half, driver.now))
    driver.send(Cancel())
    [cancelled] = driver.of(Cancelled)
    assert isinstance(cancelled, Cancelled)
    assert cancelled.spoken_text == ""
    assert cancelled.sent_ms == 110


def test_cancel_without_a_name_cancels_every_context(driver: Driver) -> None:
    for name in "abc":
        driver.send(Start(context_id=name), Text(text="Hello there."), End())
    driver.step()
    driver.send(Cancel())
    assert [message.context_id for message in driver.of(Cancelled)] == ["a", "b", "c"]  # type: ignore[union-attr]
    assert driver.jobs == {}
    assert not driver.session.busy
    driver.send(Cancel())
    assert len(driver.of(Cancelled)) == 3


def test_cancelling_one_context_lets_the_next_one_speak(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="First one."))
    driver.send(Start(context_id="b"), Text(text="Second."), End())
    driver.send(Cancel(context_id="a"))
    driver.finish()
    assert driver.sent_ms("b") > 0
    assert driver.of(AudioFinished)


def test_a_late_cancel_is_no_error_and_a_wrong_one_is(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hi."), End())
    driver.finish()
    driver.send(Cancel(context_id="a"))
    error = refusal(driver, Cancel(context_id="nobody"))
    assert error.code is ErrorCode.UNKNOWN_CONTEXT
    assert not error.fatal


def test_close_speaks_what_is_queued_then_closes(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Not finished"))
    driver.send(Start(context_id="b"), Text(text="Nor this"), CloseMessage())
    driver.finish()
    assert driver.spoken == "Not finished Nor this"
    assert len(driver.of(AudioFinished)) == 2
    assert driver.log[-1] == Close(CloseCode.NORMAL)
    driver.take(driver.session.tick(driver.now + 1))
    assert driver.log.count(Close(CloseCode.NORMAL)) == 1


def test_close_of_an_idle_session_closes_at_once(driver: Driver) -> None:
    driver.send(CloseMessage())
    assert driver.log[-1] == Close(CloseCode.NORMAL)


def test_after_close_only_cancel_is_taken(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hello there."), CloseMessage())
    error = refusal(driver, Text(text="more"))
    assert error.code is ErrorCode.UNEXPECTED_MESSAGE
    driver.send(Cancel())
    assert driver.log[-1] == Close(CloseCode.NORMAL)


@pytest.mark.parametrize("message", [Text(text="x"), Flush(), End()])
def test_text_before_start_is_refused(driver: Driver, message: ClientMessage) -> None:
    error = refusal(driver, message)
    assert error.code is ErrorCode.UNEXPECTED_MESSAGE
    assert "start" in error.message


@pytest.mark.parametrize("message", [Text(text="x"), Flush(), End()])
def test_an_ended_context_takes_nothing_more(driver: Driver, message: ClientMessage) -> None:
    driver.send(Start(context_id="a"), Text(text="Hello."), End())
    error = refusal(driver, message)
    assert error.code is ErrorCode.UNKNOWN_CONTEXT
    assert "has ended" in error.message
    assert error.context_id == "a"


def test_a_name_can_be_used_again_but_not_twice_at_once(driver: Driver) -> None:
    driver.send(Start(context_id="a"))
    error = refusal(driver, Start(context_id="a"))
    assert error.code is ErrorCode.UNEXPECTED_MESSAGE
    assert "already open" in error.message
    driver.send(End())
    driver.send(Start(context_id="a"), Text(text="Hi."), End())
    driver.finish()
    assert len(driver.of(AudioFinished)) == 2


def test_names_are_made_for_contexts_without_one(driver: Driver) -> None:
    driver.send(Start(context_id="context-1"), Start(), Text(text="Hi."), End())
    driver.send(End(context_id="context-1"))
    driver.finish()
    [started] = driver.of(AudioStarted)
    assert isinstance(started, AudioStarted)
    assert started.context_id == "context-2"


def test_too_many_contexts_are_refused_and_the_session_goes_on() -> None:
    driver = Driver(SessionOptions(max_contexts=2))
    driver.send(Start(), Start())
    error = refusal(driver, Start())
    assert error.code is ErrorCode.TOO_MANY_CONTEXTS
    assert not error.fatal
    driver.send(Cancel(), Start())


def test_an_unknown_voice_is_answered_with_the_known_ones(driver: Driver) -> None:
    error = refusal(driver, Start(voice="nobody"))
    assert error.code is ErrorCode.UNKNOWN_VOICE
    assert "fake-en, fake-vi" in error.message
    assert not error.fatal


def test_too_much_text_is_refused_and_what_came_before_is_spoken() -> None:
    driver = Driver(SessionOptions(max_message_characters=20, max_context_characters=30))
    driver.send(Start(context_id="a"), Text(text="Hello there. "))
    assert refusal(driver, Text(text="x" * 21)).code is ErrorCode.TEXT_TOO_LONG
    error = refusal(driver, Text(text="x" * 20))
    assert error.code is ErrorCode.TEXT_TOO_LONG
    assert error.context_id == "a"
    assert not error.fatal
    driver.send(End())
    driver.finish()
    assert driver.spoken == "Hello there."


def test_a_long_text_comes_in_parts_and_is_spoken_as_one() -> None:
    text = "".join(f"- item {number} of a long list\n" for number in range(200))
    whole, parted = Driver(SessionOptions(look_ahead=999)), Driver(SessionOptions(look_ahead=999))
    for driver in (whole, parted):
        driver.send(Start(context_id="a"))
    whole.send(Text(text=text))
    parts = parted.session.fragments(Text(text=text))
    assert len(parts) == len(text) // 500 + 1
    parted.send(*parts)
    assert [request.text for request in parted.requests] == [
        request.text for request in whole.requests
    ]
    assert parted.session.fragments(Text(text="short")) == [Text(text="short")]


def test_a_long_text_is_refused_as_a_whole() -> None:
    driver = Driver(SessionOptions(max_context_characters=1000))
    driver.send(Start(context_id="a"))
    with pytest.raises(ProtocolError) as caught:
        driver.session.fragments(Text(text="word " * 201))
    assert caught.value.code is ErrorCode.TEXT_TOO_LONG
    with pytest.raises(ProtocolError) as caught:
        driver.session.fragments(Text(text="word " * 150, context_id="b"))
    assert caught.value.code is ErrorCode.UNKNOWN_CONTEXT
    assert driver.requests == []


def test_a_text_that_will_not_be_spoken_has_no_parts_to_be_charged_for() -> None:
    driver = Driver(SessionOptions(max_context_characters=1000))
    refused = driver.session.refuse(Start(context_id="a"), ProtocolError(ErrorCode.OVERLOADED, ""))
    assert len(refused) == 1
    assert driver.session.fragments(Text(text="never spoken", context_id="a")) == []
    driver.send(Start(context_id="b"))
    driver.send(CloseMessage())
    for text in ("short", "word " * 150):
        with pytest.raises(ProtocolError) as caught:
            driver.session.fragments(Text(text=text))
        assert caught.value.code is ErrorCode.UNEXPECTED_MESSAGE


def test_a_failure_ends_its_context_after_the_audio_before_it(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Good words. Then FAIL now. Never. "), Flush())
    driver.send(Start(context_id="b"), Text(text="Still here."), End())
    driver.step(1)
    assert driver.of(Error) == [], "not before the audio that precedes it"
    driver.finish()
    [error] = driver.of(Error)
    assert isinstance(error, Error)
    assert (error.code, error.context_id) == (ErrorCode.ENGINE_FAILED, "a")
    assert error.retryable
    assert driver.of(Flushed) == []
    order = [entry.context_id for entry in driver.log if isinstance(entry, SendAudio)]
    assert order == ["a"] * 3 + ["b"] * 2
    driver.send(Text(text="late", context_id="a"), End(context_id="a"), Cancel(context_id="a"))


def test_a_failure_with_a_fatal_code_closes_the_session(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hello."), End())
    error = EngineError("broken", code=ErrorCode.INTERNAL)
    driver.take(driver.session.on_failed(1, error, driver.now))
    assert driver.log[-1] == Close(CloseCode.INTERNAL_ERROR)


def test_a_pause_in_the_text_speaks_its_beginning(driver: Driver) -> None:
    assert driver.session.wake_at is None
    driver.send(Start(), Text(text="I think that may"))
    assert driver.session.wake_at == pytest.approx(100.25)
    driver.take(driver.session.tick(100.2))
    assert driver.requests == []
    driver.take(driver.session.tick(100.25))
    assert driver.spoken == "I think that"
    assert driver.session.wake_at is None
    driver.send(Text(text="be so."), End())
    driver.finish()
    assert driver.spoken == "I think that maybe so."


def test_first_audio_is_counted_from_the_first_text(driver: Driver) -> None:
    driver.send(Start(context_id="a"))
    driver.now = 101.0
    driver.send(Text(text="Hello."), End())
    driver.now = 101.12
    driver.finish()
    [finished] = driver.of(AudioFinished)
    assert isinstance(finished, AudioFinished)
    assert finished.first_audio_ms == 120


def test_first_audio_of_a_queued_context_is_counted_from_its_turn(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Start(context_id="b"), Text(text="Hello."), End())
    driver.now = 105.0
    driver.send(End(context_id="a"))
    driver.now = 105.05
    driver.finish()
    finished = driver.of(AudioFinished)[1]
    assert isinstance(finished, AudioFinished)
    assert finished.first_audio_ms == 50


def test_a_session_is_busy_while_it_has_something_to_speak(driver: Driver) -> None:
    driver.send(Start())
    assert not driver.session.busy
    driver.send(Text(text="Hello there. "))
    assert driver.session.busy
    driver.finish()
    assert not driver.session.busy


def test_a_start_that_interrupts_takes_the_place_of_all_others(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hello there, my friend."), End())
    driver.send(Start(context_id="b"), Text(text="Behind."), End())
    driver.step(0)
    driver.send(Start(context_id="a", interrupt=True), Text(text="Anew."), End())
    assert [message.context_id for message in driver.of(Cancelled)] == ["a", "b"]  # type: ignore[union-attr]
    driver.finish()
    [finished] = driver.of(AudioFinished)
    assert isinstance(finished, AudioFinished)
    assert (finished.context_id, finished.audio_ms) == ("a", 220)
    assert driver.requests[-1].text == "Anew."


def test_a_start_that_cannot_be_obeyed_interrupts_nothing(driver: Driver) -> None:
    driver.send(Start(context_id="a"), Text(text="Hello there, my friend."), End())
    assert refusal(driver, Start(voice="nobody", interrupt=True)).code is ErrorCode.UNKNOWN_VOICE
    driver.finish()
    assert driver.of(Cancelled) == []
    assert len(driver.of(AudioFinished)) == 1


def test_an_interrupting_start_needs_no_free_context() -> None:
    driver = Driver(SessionOptions(max_contexts=1))
    driver.send(Start(), Start(interrupt=True), Text(text="Hi."), End())
    driver.finish()
    assert len(driver.of(Cancelled)) == len(driver.of(AudioFinished)) == 1


@pytest.mark.parametrize("name", ["b", None])
def test_a_refused_context_is_answered_once_and_its_text_goes_nowhere(
    driver: Driver, name: str | None
) -> None:
    driver.send(Start(context_id="a"), Text(text="First. "))
    reason = ProtocolError(ErrorCode.OVERLOADED, "too much to do")
    driver.take(driver.session.refuse(Start(context_id=name), reason))
    [error] = driver.of(Error)
    assert isinstance(error, Error)
    assert (error.code, error.retryable) == (ErrorCode.OVERLOADED, True)
    driver.send(Text(text="not to be heard"), Flush(), End(), Cancel(context_id=error.context_id))
    driver.send(Text(text="Second.", context_id="a"), CloseMessage())
    driver.finish()
    assert driver.spoken == "First. Second."
    assert driver.log[-1] == Close(CloseCode.NORMAL)


def test_the_cache_is_used_as_asked(driver: Driver) -> None:
    commands = driver.session.receive(Start(cache=CacheUse.BYPASS), driver.now)
    commands = driver.session.receive(Text(text="Hello there. "), driver.now)
    [synthesize] = commands
    assert isinstance(synthesize, Synthesize)
    assert synthesize.cache is CacheUse.BYPASS


def paced(driver: Driver, text: str, lead_ms: int = 200) -> None:
    driver.send(Start(context_id="a", pacing=Pacing(lead_ms=lead_ms)), Text(text=text), End())


def run_engine(driver: Driver) -> None:
    while driver.step():
        pass


def test_paced_audio_leaves_in_real_time(driver: Driver) -> None:
    paced(driver, "Hello there, my friend, how do you do? " * 40)
    run_engine(driver)
    begun, before = driver.now, -1
    assert driver.sent_ms("a") == 200
    while driver.session.busy:
        run_engine(driver)
        assert driver.wait()
        sent = driver.sent_ms("a")
        assert sent - (driver.now - begun) * 1000 <= 201, "never more than the lead ahead"
        assert sent > before, "never woken for nothing"
        before = sent
    finished = driver.of(AudioFinished)[-1]
    assert isinstance(finished, AudioFinished)
    assert finished.audio_ms == driver.sent_ms("a") > 40_000
    assert driver.now - begun == pytest.approx(finished.audio_ms / 1000 - 0.2, abs=0.05)


def test_a_cancel_drops_what_pacing_holds_back(driver: Driver) -> None:
    paced(driver, "Hello there, my friend. How do you do?")
    run_engine(driver)
    driver.wait()
    driver.send(Cancel())
    [cancelled] = driver.of(Cancelled)
    assert isinstance(cancelled, Cancelled)
    assert cancelled.sent_ms == driver.sent_ms("a") == 220
    assert cancelled.spoken_text == "Hello"
    assert driver.session.wake_at is None
    paced(driver, "Again.")
    run_engine(driver)
    assert driver.sent_ms("a") == 220 + 200, "the line is free at once"


def test_what_is_paced_is_flushed_and_fails_when_it_was_sent(driver: Driver) -> None:
    driver.send(Start(context_id="a", pacing=Pacing()), Text(text="Hello there."), Flush())
    driver.send(Text(text=" And FAIL now."), End())
    run_engine(driver)
    assert driver.of(Flushed) == driver.of(Error) == []
    driver.finish()
    [flushed] = driver.of(Flushed)
    assert isinstance(flushed, Flushed)
    assert flushed.audio_ms == 480
    assert len(driver.of(Error)) == 1
    assert driver.sent_ms("a") == 480 + 140


def test_what_comes_before_a_job_is_counted_for_its_deadline(driver: Driver) -> None:
    driver.send(Start(), Text(text="Hello there. Another sentence. "))
    first, second = sorted(driver.jobs)
    assert driver.session.ahead_s(first) == 0.0
    expected = driver.session.ahead_s(second)
    assert 0.3 < expected < 2.0, "what the first one is going to be"
    driver.step(1)
    assert driver.session.ahead_s(second) == pytest.approx(expected + 0.3)


NAMES = ("a", "b", "c")
some_text = st.lists(
    st.sampled_from(["Hi ", "there, ", "my ", "friend. ", "FAIL. ", "😀 ", "No! ", "x"]), max_size=8
).map("".join)
named = st.sampled_from(NAMES)
steps = st.one_of(
    st.builds(
        Start,
        context_id=named,
        word_timestamps=st.booleans(),
        interrupt=st.sampled_from([False, False, True]),
        pacing=st.none() | st.just(Pacing(lead_ms=100)),
    ),
    st.builds(Text, text=some_text, context_id=named),
    st.builds(Text, text=some_text, context_id=named),
    st.builds(Flush, context_id=named),
    st.builds(End, context_id=named),
    st.builds(Cancel, context_id=st.none() | named),
    st.integers(min_value=0, max_value=20),
    st.integers(min_value=0, max_value=20),
    st.just("tick"),
)


@dataclass
class Life:
    """What one context was told, from its start to its last message."""

    name: str
    text: str = ""
    flushes: int = 0
    answers: int = 0
    audio: int = 0
    ending: str | None = None


def replay(log: list[Command], lives: list[Life]) -> None:
    """Check the order of what was sent, and note it in the lives, oldest first of a name."""
    waiting = list(lives)
    opened: str | None = None
    for entry in log:
        message = entry.message if isinstance(entry, Send) else None
        context_id = getattr(message or entry, "context_id", None)
        if context_id is None:
            continue
        life = next(life for life in waiting if life.name == context_id)
        if isinstance(entry, OpenAudio):
            assert opened is None
            assert life is waiting[0], "contexts are heard in the order of their start"
            opened = context_id
        elif isinstance(entry, SendAudio):
            assert opened == context_id
            life.audio += len(entry.samples)
        elif isinstance(entry, CloseAudio):
            assert opened == context_id
            opened = None
        elif isinstance(message, Flushed):
            life.answers += 1
            assert message.audio_ms == life.audio * 1000 // SAMPLE_RATE
        elif isinstance(message, AudioFinished | Cancelled | Error):
            assert opened != context_id
            life.ending = message.type
            if isinstance(message, AudioFinished):
                assert message.audio_ms == life.audio * 1000 // SAMPLE_RATE
            if isinstance(message, Cancelled):
                assert message.sent_ms == life.audio * 1000 // SAMPLE_RATE
                assert life.text.startswith(message.spoken_text)
            waiting.remove(life)
    assert waiting == []


@settings(max_examples=300)
@given(st.lists(steps, max_size=40))
def test_whatever_happens_contexts_stay_whole_and_in_order(
    actions: list[ClientMessage | int | str],
) -> None:
    driver = Driver()
    lives: list[Life] = []
    for action in actions:
        driver.now += 0.1
        if isinstance(action, int):
            driver.step(action)
        elif isinstance(action, str):
            driver.take(driver.session.tick(driver.now))
        else:
            try:
                driver.send(action)
            except ProtocolError:
                continue
            note(lives, action, driver)
    driver.send(CloseMessage())
    driver.finish()
    assert driver.most_jobs <= driver.options.look_ahead
    assert driver.log[-1] == Close(CloseCode.NORMAL)
    replay(driver.log, lives)
    for life in lives:
        assert life.ending is not None
        if life.ending == "audio_finished":
            assert life.answers == life.flushes
        else:
            assert life.answers <= life.flushes
    check_text(driver, lives)


def note(lives: list[Life], action: ClientMessage, driver: Driver) -> None:
    if isinstance(action, Start):
        lives.append(Life(action.context_id or ""))  # what it interrupts was answered before
    elif isinstance(action, Text | Flush):
        last = next((life for life in reversed(lives) if life.name == action.context_id), None)
        if last and last.name in driver.session._queue.contexts:
            last.text += action.text if isinstance(action, Text) else ""
            last.flushes += isinstance(action, Flush)


def check_text(driver: Driver, lives: list[Life]) -> None:
    """Contexts that finished were spoken whole, in order."""
    wanted: list[str] = []
    for life in lives:
        if life.ending == "audio_finished":
            wanted += [word for word in life.text.replace("😀", " ").split() if word]
    spoken = iter("".join(driver.spoken.split()))
    assert all(any(char == given for given in spoken) for char in "".join(wanted))
    if all(life.ending == "audio_finished" for life in lives):
        assert "".join(wanted) == "".join(driver.spoken.split())
