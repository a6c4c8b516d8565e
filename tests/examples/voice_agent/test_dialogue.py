"""Conversations on a virtual clock, told from what the caller hears and the journal has."""

import pytest

from examples.voice_agent import commands as cmd
from examples.voice_agent import events as ev
from examples.voice_agent.ports import (
    EndCall,
    Happened,
    Outcome,
    Speculation,
    ToolRan,
    ToolResult,
    ToolSpec,
    TransferCall,
    Usage,
    UsageNoted,
)
from tests.examples.voice_agent.virtual_call import (
    GREETING,
    VirtualCall,
    agent,
    calls,
    fails,
    says,
    silent,
)

LONG = "One two three four five, six seven eight nine ten. Eleven twelve thirteen fourteen fifteen."
LOOKUP = ToolSpec("lookup", "reads", {}, side_effects=False)
BOOK = ToolSpec("book", "does", {})


def test_the_greeting_is_the_first_thing_the_caller_hears() -> None:
    call = VirtualCall()
    call.until_quiet()
    assert call.heard[0][0] <= 0.06
    (turn,) = call.agent_turns("greeting")
    assert turn.spoken == turn.generated == GREETING


def test_without_a_greeting_the_caller_begins() -> None:
    call = VirtualCall(agent(greeting=""))
    call.run(1.0)
    assert call.heard == []


def test_a_turn_is_answered_and_both_sides_are_remembered() -> None:
    call = VirtualCall(None, says("It is ten."))
    call.until_quiet()
    call.caller_says("What time is it?")
    call.until_quiet()
    call.caller_says("Thank you so much.")
    assert call.messages() == [
        ("assistant", GREETING),
        ("user", "What time is it?"),
        ("assistant", "It is ten."),
        ("user", "Thank you so much."),
    ]
    assert call.caller_turns == ["What time is it?", "Thank you so much."]


def test_all_stages_of_an_answer_have_their_times_in_order() -> None:
    call = VirtualCall(None, says("It is ten."))
    call.until_quiet()
    call.caller_says("What time is it?")
    call.until_quiet()
    times = call.agent_turns()[0].times
    stages = [
        times.speech_end_s,
        times.turn_pending_s,
        times.llm_first_s,
        times.tts_first_s,
        times.wire_first_s,
        times.played_s,
    ]
    assert None not in stages
    assert stages == sorted(s for s in stages if s is not None)
    assert times.asr_final_s is not None


# Speculation.


def test_an_answer_that_was_begun_early_is_heard_only_when_the_turn_is_over() -> None:
    call = VirtualCall(None, says("It is ten."), tts_delay_s=0.02)
    call.until_quiet()
    call.tell(ev.SpeechBegan())
    call.run(1.0)
    call.tell(ev.PendingHeard("What time is it"))
    call.run(0.5)
    quiet_until = call.now
    call.final("What time is it?")
    call.run(0.1)
    assert [at for at, _ in call.heard if at > quiet_until][0] - quiet_until <= 0.04
    assert not [at for at, _ in call.heard if quiet_until - 1.5 < at <= quiet_until]
    call.until_quiet()
    assert call.agent_turns()[0].speculation is Speculation.HIT
    assert len(call.all(cmd.Ask)) == 1


def test_an_answer_to_other_words_is_dropped() -> None:
    call = VirtualCall(None, says("Wrong."), says("Right."))
    call.until_quiet()
    call.tell(ev.SpeechBegan(), ev.PendingHeard("What time"))
    call.run(0.5)
    call.final("What time is it?")
    call.until_quiet()
    (turn,) = call.agent_turns()
    assert (turn.generated, turn.speculation) == ("Right.", Speculation.MISS)
    assert call.messages()[-1] == ("user", "What time is it?")


def test_a_caller_who_goes_on_ends_the_early_answer() -> None:
    call = VirtualCall(None, says("Wrong."), says("Right."))
    call.until_quiet()
    call.tell(ev.SpeechBegan(), ev.PendingHeard("What time"))
    call.run(0.05)
    call.tell(ev.SpeechResumed())
    assert call.all(cmd.StopAsking)
    call.run(1.0)
    call.final("What time is it?")
    call.until_quiet()
    assert [turn.generated for turn in call.agent_turns()] == ["Right."]


def test_a_turn_of_several_finals_is_one() -> None:
    call = VirtualCall(None, says("Fine."))
    call.until_quiet()
    call.tell(ev.SpeechBegan(), ev.FinalHeard("First part.", turn_end=False))
    call.run(0.5)
    call.tell(ev.PendingHeard("Second part."))
    call.final("Second part.")
    assert call.messages()[-1] == ("user", "First part. Second part.")
    assert len(call.all(cmd.Ask)) == 1


def test_speculation_is_bounded_and_can_be_switched_off() -> None:
    for hearing, expected in (({"speculations_per_turn": 2}, 2), ({"speculate": False}, 0)):
        call = VirtualCall(agent(hearing=hearing))
        call.until_quiet()
        call.tell(ev.SpeechBegan())
        for i in range(5):
            call.tell(ev.PendingHeard(f"text {i}"), ev.SpeechResumed())
        assert len(call.all(cmd.Ask)) == expected


@pytest.mark.parametrize(("tool", "early"), [(LOOKUP, True), (BOOK, False)])
def test_only_tools_that_read_run_before_the_turn_is_over(tool: ToolSpec, early: bool) -> None:
    call = VirtualCall(None, calls(tool.name), says("Done."), tools=[tool])
    call.until_quiet()
    call.tell(ev.SpeechBegan(), ev.PendingHeard("Book it please"))
    call.run(1.0)
    assert bool(call.all(cmd.RunTool)) is early
    call.final("Book it please")
    call.until_quiet()
    assert len(call.all(cmd.RunTool)) == 1
    assert call.agent_turns()[0].generated == "Done."
    assert call.messages()[-1] == ("tool", "done")


# Barge-in.


def _speaking(**barge: object) -> VirtualCall:
    """A call in which the agent has just begun a long answer."""
    call = VirtualCall(agent(barge=barge), says(LONG))
    call.until_quiet()
    call.caller_says("Count for me")
    call.run(1.5)
    assert call.dialogue.saying.audible(call.now) or call.dialogue.has_floor
    return call


def test_a_cough_pauses_and_resumes_exactly() -> None:
    call = _speaking()
    call.tell(ev.SpeechBegan())
    paused_at = call.now
    call.run(0.4)
    call.final("")
    resumed_at = call.now
    assert not [at for at, _ in call.heard if paused_at < at <= resumed_at]
    call.until_quiet()
    (turn,) = call.agent_turns()
    assert turn.spoken == turn.generated == LONG
    assert turn.interrupted_at_ms is None
    assert "false_barge_in" in call.happenings()
    assert call.caller_turns == ["Count for me"]


@pytest.mark.parametrize("words", ["mm-hm", "Okay.", "Yeah, right.", "uh huh, I see"])
def test_a_listener_who_nods_does_not_interrupt(words: str) -> None:
    call = _speaking()
    call.tell(ev.SpeechBegan())
    call.run(0.5)
    call.tell(ev.PartialHeard(words), ev.PendingHeard(words))
    assert call.when(cmd.Resume) == call.now
    call.run(0.3)
    call.final(words)
    call.until_quiet()
    assert call.agent_turns()[0].spoken == LONG
    assert call.caller_turns == ["Count for me"]


def test_real_speech_silences_the_agent_and_the_history_keeps_what_was_heard() -> None:
    call = _speaking()
    call.tell(ev.SpeechBegan())
    at = call.now
    call.run(0.4)
    call.tell(ev.PartialHeard("hang on a second"))
    assert call.all(cmd.Silence)
    assert call.all(cmd.CancelSpeech) or call.agent_turns()
    call.run(0.5)
    call.final("hang on a second")
    (turn,) = [turn for turn in call.agent_turns() if turn.interrupted_at_ms is not None]
    heard_words = len(turn.spoken.split())
    assert LONG.startswith(turn.spoken)
    assert turn.interrupted_at_ms == pytest.approx(heard_words * 300, abs=300)
    assert call.messages()[-2:] == [("assistant", turn.spoken), ("user", "hang on a second")]
    assert not [t for t, u in call.heard if t > at and u == call.heard[-1][1] and t < call.now]


def test_one_word_counts_when_it_is_long_or_means_stop() -> None:
    for word, wait_s, silent_now in (("stop", 0.3, True), ("Tuesday", 0.3, False)):
        call = _speaking()
        call.tell(ev.SpeechBegan())
        call.run(wait_s)
        call.tell(ev.PartialHeard(word))
        assert bool(call.all(cmd.Silence)) is silent_now
        call.run(1.0)  # the decision may not take longer
        assert call.all(cmd.Silence)


def test_without_words_the_agent_goes_on_after_the_limit_but_words_still_interrupt() -> None:
    call = _speaking(decide_s=0.8, wordless_s=0.8)
    call.tell(ev.SpeechBegan())
    began = call.now
    call.run(1.2)
    assert call.when(cmd.Resume) - began == pytest.approx(0.8, abs=0.03)
    call.tell(ev.PartialHeard("now listen to me"))
    assert call.all(cmd.Silence)


@pytest.mark.parametrize("words, goes_on_after_s", [(None, 1.5), ("mm", 0.8)])
def test_a_recogniser_that_says_nothing_yet_is_waited_for_longer(
    words: str | None, goes_on_after_s: float
) -> None:
    call = _speaking(decide_s=0.8, wordless_s=1.5)
    call.tell(ev.SpeechBegan())
    began = call.now
    call.run(0.5)
    if words is not None:
        call.tell(ev.PartialHeard(words))
    call.run(1.5)
    assert call.when(cmd.Resume) - began == pytest.approx(goes_on_after_s, abs=0.03)


def test_its_own_echo_does_not_interrupt() -> None:
    call = _speaking()
    call.run(0.6)
    call.tell(ev.SpeechBegan())
    call.run(0.3)
    heard = LONG.split()[: round(call.dialogue.saying.playback.heard_ms(call.now, 2) / 300)]
    echo = " ".join(heard[-3:])
    call.tell(ev.PartialHeard(echo))
    call.run(0.2)
    call.final(echo)
    call.until_quiet()
    assert call.agent_turns()[0].spoken == LONG
    assert call.caller_turns == ["Count for me"]
    assert "not_a_turn" in call.happenings()


def test_after_pauses_for_nothing_only_words_make_it_pause() -> None:
    call = _speaking(wary_after=2)
    for _ in range(2):
        call.tell(ev.SpeechBegan())
        call.run(0.2)
        call.final("")
    pauses = len(call.all(cmd.Pause))
    call.tell(ev.SpeechBegan())
    assert len(call.all(cmd.Pause)) == pauses == 2
    call.tell(ev.PartialHeard("please stop talking now"))
    assert call.all(cmd.Silence)


def test_yes_at_the_end_of_a_question_is_a_reply() -> None:
    call = VirtualCall(None, says("Shall I book it for you?"), says("Booked."))
    call.until_quiet()
    call.caller_says("A table for two")
    call.run(1.7)
    assert call.dialogue.saying.audible(call.now)
    call.tell(ev.SpeechBegan())
    call.run(0.4)
    call.tell(ev.PartialHeard("yes"))
    call.final("Yes.")
    call.until_quiet()
    assert call.caller_turns[-1] == "Yes."
    said = [turn.generated for turn in call.agent_turns()]
    assert said == ["Shall I book it for you?", "Booked."]


def test_a_short_reply_over_the_last_word_is_answered() -> None:
    """A line that has been given audio ahead plays it to its end also after a pause."""
    call = VirtualCall(None, says("Which day?"), says("Booked."))
    call.until_quiet()
    call.caller_says("A table for two", pending=False)
    while not (queue := call.dialogue.saying.queue) or not queue[0].audio_ms:
        call.run(0.02)
    call.run(0.5)
    (question,) = call.dialogue.saying.queue
    call.tell(ev.SpeechBegan())
    call.tell(ev.Heard(question.id, question.audio_ms, end=True))
    assert call.all(cmd.Pause) and not call.dialogue.saying.queue
    call.run(0.5)
    call.tell(ev.PartialHeard("Tuesday"))
    call.final("Tuesday.")
    call.until_quiet()
    assert call.caller_turns[-1] == "Tuesday."
    assert call.agent_turns()[-1].spoken == "Booked."


def test_who_goes_on_before_the_answer_is_heard_is_answered_once() -> None:
    call = VirtualCall(None, silent, says("Both."))
    call.until_quiet()
    call.caller_says("I want a table")
    call.run(0.3)
    call.tell(ev.SpeechBegan())
    call.run(0.3)
    call.tell(ev.PartialHeard("for two people"))
    call.final("for two people")
    call.until_quiet()
    assert call.messages()[-1] == ("user", "I want a table for two people")
    assert [turn.generated for turn in call.agent_turns()] == ["Both."]


def test_a_final_that_comes_after_the_next_onset_belongs_to_the_turn_before() -> None:
    call = _speaking()
    call.tell(ev.SpeechBegan())
    call.run(0.2)
    call.tell(ev.SpeechBegan())
    call.run(0.1)
    call.final("Okay.")  # of the first
    assert not call.all(cmd.Resume)
    call.tell(ev.PartialHeard("please cancel"))
    assert call.all(cmd.Silence)
    call.final("Please cancel it.")
    assert call.caller_turns == ["Count for me", "Please cancel it."]


def test_who_already_says_more_is_not_talked_over() -> None:
    call = VirtualCall(None, says("Wrong."), says("Both."))
    call.until_quiet()
    call.tell(ev.SpeechBegan())
    call.run(1.0)
    call.tell(ev.SpeechBegan())
    call.final("I want a table")  # of the first
    at = call.now
    call.run(0.8)
    call.tell(ev.PartialHeard("for two people"))
    call.run(0.5)
    assert not [t for t, _ in call.heard if t > at]
    call.final("for two people")
    call.until_quiet()
    assert call.messages()[-1] == ("user", "I want a table for two people")
    assert [turn.generated for turn in call.agent_turns()][-1] == "Both."


# Patience.


def test_a_slow_model_is_bridged_by_one_filler() -> None:
    call = VirtualCall(None, says("Here it is.", delay_s=2.5))
    call.until_quiet()
    call.caller_says("Tell me", pending=False)
    owed = call.now
    call.until_quiet()
    (filler,) = call.agent_turns("filler")
    assert filler.times.wire_first_s == pytest.approx(owed + 1.5, abs=0.05)
    assert call.agent_turns()[0].generated == "Here it is."
    call.caller_says("Thanks")
    assert "One moment, please." not in [content for _, content in call.messages()]


@pytest.mark.parametrize("script", [silent, fails])
def test_a_model_that_does_not_answer_is_apologised_for_then_given_up(script: object) -> None:
    call = VirtualCall(agent(fallback={"transfer_to": "600"}), script)  # type: ignore[arg-type]
    call.until_quiet()
    for _ in range(2):
        if call.ended is None:
            call.caller_says("Tell me", pending=False)
            owed = call.now
            call.until_quiet(40)
            assert call.longest_silence(owed, call.now - 0.3) <= 3.0
    call.run(2.0)
    assert len(call.agent_turns("apology")) == 1
    assert call.agent_turns("fallback")[0].spoken
    assert call.all(cmd.Transfer) == [cmd.Transfer("600")]
    assert call.ended is not None and call.ended.outcome is Outcome.FALLBACK


def stalls(ask: cmd.Ask) -> list[tuple[float, ev.Event]]:
    """A model that never comes to its second clause."""
    return [(0.1, ev.AnswerText(ask.request, "One, two, three, four, "))]


def test_a_model_that_stalls_in_its_answer_is_bridged_too() -> None:
    call = VirtualCall(None, stalls)
    call.until_quiet()
    call.caller_says("Tell me")
    asked = call.now
    call.run(9.0)
    assert call.agent_turns("filler") and call.agent_turns("still_working")
    assert call.longest_silence(asked, call.now - 1.0) <= 3.0


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_agent_that_gives_up_and_names_nobody_lets_the_call_go_on_where_it_came_from(
    *, goes_on: bool
) -> None:
    call = VirtualCall(None, fails, goes_on=goes_on)
    call.until_quiet()
    for _ in range(2):
        call.caller_says("Tell me", pending=False)
        call.until_quiet(40)
    call.run(2.0)
    assert call.ended is not None
    if goes_on:
        assert call.agent_turns("fallback")[0].spoken
        assert call.all(cmd.GiveBack) and not call.all(cmd.HangUp)
        assert call.ended.outcome is Outcome.FALLBACK
    else:
        assert call.agent_turns("failed")[0].spoken
        assert call.all(cmd.HangUp) and not call.all(cmd.GiveBack)
        assert call.ended.outcome is Outcome.FAILED


def test_a_model_that_fails_once_is_asked_again() -> None:
    call = VirtualCall(None, fails, says("Fine."))
    call.until_quiet()
    call.caller_says("Tell me")
    call.until_quiet()
    assert [turn.generated for turn in call.agent_turns()] == ["Fine."]
    assert not call.agent_turns("apology")


def test_silence_is_asked_about_then_the_call_ends() -> None:
    call = VirtualCall()
    call.until_quiet()
    quiet = call.now
    call.run(60.0)
    prompts = call.agent_turns("silence_prompt")
    assert len(prompts) == 2
    assert prompts[0].times.wire_first_s == pytest.approx(quiet + 8.0, abs=0.2)
    (goodbye,) = call.agent_turns("silence_goodbye")
    assert goodbye.spoken == goodbye.generated
    assert call.when(cmd.HangUp) >= (goodbye.times.played_s or 0)
    assert call.ended is not None and call.ended.outcome is Outcome.SILENCE


def test_who_answers_the_prompt_is_not_hung_up_on() -> None:
    call = VirtualCall()
    call.until_quiet()
    for _ in range(4):
        call.run(9.5)
        call.until_quiet()
        call.caller_says("Yes I am here")
        call.until_quiet()
    assert call.ended is None


def test_a_call_is_warned_about_its_end_and_ended() -> None:
    config = agent(limits={"call_s": 60, "warning_s": 20}, patience={"silence_prompt_s": 1000})
    call = VirtualCall(config)
    call.run(80.0)
    warned = call.agent_turns("time_warning")[0].times.wire_first_s
    assert warned == pytest.approx(40.0, abs=0.2)
    assert call.agent_turns("time_up")[0].spoken
    assert call.ended is not None and call.ended.outcome is Outcome.TOO_LONG


def test_keys_that_belong_together_are_one_turn() -> None:
    call = VirtualCall()
    call.until_quiet()
    for digit in "12":
        call.tell(ev.KeyPressed(digit))
        call.run(0.5)
    call.run(2.0)
    call.tell(ev.KeyPressed("7"), ev.KeyPressed("#"))
    turns = call.caller_turns
    assert ["12" in turns[0], "7" in turns[1], len(turns)] == [True, True, 2]


def test_a_key_interrupts() -> None:
    call = _speaking()
    call.tell(ev.KeyPressed("1"))
    assert call.all(cmd.Silence)


# Tools and endings.


def test_a_slow_tool_is_bridged_and_its_result_used() -> None:
    results = {"lookup": (2.0, ToolResult("balance 150"))}
    call = VirtualCall(None, calls("lookup"), says("150."), tools=[LOOKUP], results=results)
    call.until_quiet()
    call.caller_says("My balance", pending=False)
    started = call.now
    call.until_quiet()
    (filler,) = call.agent_turns("filler")
    assert (filler.times.wire_first_s or 0) - started == pytest.approx(0.82, abs=0.1)
    assert call.agent_turns()[0].generated == "150."
    (ran,) = call.journal(ToolRan)
    assert ran.duration_s == pytest.approx(2.0, abs=0.05)
    assert [m.role for m in call.all(cmd.Ask)[-1].messages[-2:]] == ["assistant", "tool"]


def test_a_quick_tool_needs_no_filler() -> None:
    call = VirtualCall(None, calls("lookup"), says("150."), tools=[LOOKUP])
    call.until_quiet()
    call.caller_says("My balance")
    call.until_quiet()
    assert not call.agent_turns("filler")


def test_after_the_last_step_there_are_no_tools() -> None:
    scripts = [calls("lookup", f"t{i}") for i in range(3)]
    call = VirtualCall(
        agent(limits={"tool_steps": 2}), *scripts[:2], says("Enough."), tools=[LOOKUP]
    )
    call.until_quiet()
    call.caller_says("My balance")
    call.until_quiet()
    assert [bool(ask.tools) for ask in call.all(cmd.Ask)] == [True, True, False]
    assert call.agent_turns()[0].generated == "Enough."


@pytest.mark.parametrize(
    ("action", "command", "outcome"),
    [
        (EndCall(), cmd.HangUp, Outcome.AGENT_ENDED),
        (TransferCall("700"), cmd.Transfer, Outcome.TRANSFERRED),
    ],
)
@pytest.mark.parametrize("text", ["", "Goodbye then, have a nice day."])
def test_the_call_ends_after_the_last_word_was_heard(
    action: EndCall | TransferCall, command: type[cmd.Command], outcome: Outcome, text: str
) -> None:
    results = {"book": (0.05, ToolResult("ok", action=action))}
    call = VirtualCall(None, calls("book", text=text), tools=[BOOK], results=results)
    call.until_quiet()
    call.caller_says("That is all")
    call.run(10.0)
    last = call.journal(type(call.agent_turns("greeting")[0]))[-1]
    assert last.spoken == last.generated
    assert not text or last.generated == text
    assert call.when(command) >= (last.times.played_s or 0)
    assert call.ended is not None and call.ended.outcome is outcome


def test_a_caller_who_goes_on_keeps_the_call() -> None:
    results = {"book": (0.05, ToolResult("ok", action=EndCall()))}
    text = "Goodbye then and have a very nice day indeed."
    call = VirtualCall(None, calls("book", text=text), says("Sure."), tools=[BOOK], results=results)
    call.until_quiet()
    call.caller_says("That is all")
    call.run(1.0)
    call.tell(ev.SpeechBegan())
    call.run(0.3)
    call.tell(ev.PartialHeard("wait one more thing"))
    call.final("wait one more thing")
    call.until_quiet()
    assert not call.all(cmd.HangUp)
    assert call.agent_turns()[-1].generated == "Sure."


def test_what_does_things_goes_on_when_the_caller_interrupts() -> None:
    results = {"book": (3.0, ToolResult("booked"))}
    call = VirtualCall(None, calls("book"), says("Fine."), tools=[BOOK], results=results)
    call.until_quiet()
    call.caller_says("Book it", pending=False)
    call.run(0.5)
    call.tell(ev.SpeechBegan())
    call.run(0.3)
    call.tell(ev.PartialHeard("and a taxi please"))
    assert not call.all(cmd.StopTool)
    call.run(4.0)
    call.final("and a taxi please")
    assert ("tool", "booked") in call.messages()


# Failures.


def test_speech_that_breaks_off_goes_on_with_the_rest() -> None:
    call = _speaking()
    utterance = call.dialogue.saying.queue[-1]
    utterance.ended = False
    call.tell(ev.SpeechFailed(utterance.id, 0, "away"))
    again = [c for c in call.all(cmd.OpenSpeech) if c.attempt == 1]
    if not utterance.complete:
        assert again


def test_a_voice_that_stays_away_ends_in_the_fallback_without_dead_air() -> None:
    call = VirtualCall(agent(fallback={"transfer_to": "600"}))
    call.until_quiet()
    call.tts_works = False
    for _ in range(2):
        if call.ended is None:
            call.caller_says("Tell me", pending=False)
            owed = call.now
            call.until_quiet()
            assert call.longest_silence(owed, call.now - 0.3) <= 3.0
    call.run(3.0)
    assert call.ended is not None and call.ended.outcome is Outcome.FALLBACK


def test_a_deaf_agent_says_so_and_goes_on_when_it_hears_again() -> None:
    call = VirtualCall()
    call.until_quiet()
    call.tell(ev.HearingLost("gone"))
    call.run(4.0)
    assert call.agent_turns("cannot_hear")
    call.tell(ev.HearingBack())
    call.until_quiet()
    assert call.agent_turns("hear_again")
    call.caller_says("Are you there now")
    call.until_quiet()
    assert call.agent_turns()


def test_an_agent_that_stays_deaf_hands_over() -> None:
    call = VirtualCall(agent(fallback={"transfer_to": "600"}))
    call.until_quiet()
    call.tell(ev.HearingLost("gone"))
    call.run(30.0)
    assert call.ended is not None and call.ended.outcome is Outcome.FALLBACK


def test_a_line_that_confirms_nothing_does_not_hold_the_call() -> None:
    call = VirtualCall()
    call.marks_work = False
    call.until_quiet()
    call.caller_says("Hello there my friend")
    call.until_quiet()
    assert call.agent_turns()[0].spoken == "Fine."
    assert "mark_missing" in call.happenings()


def test_what_it_cost_is_noted_once_the_call_is_over() -> None:
    call = VirtualCall(None, says("Fine."))
    call.until_quiet()
    call.caller_says("Hello there my friend")
    ask = call.all(cmd.Ask)[-1]
    call.tell(ev.AnswerDone(ask.request, "stop", Usage(10, 5)))
    call.tell(ev.Gone("Normal Clearing", by_caller=True), ev.Tick())
    assert call.journal(UsageNoted)[0].usage == Usage(10, 5)
    assert call.ended is not None
    assert call.ended.outcome is Outcome.CALLER_HUNG_UP
    assert call.entries[-1] is call.ended


@pytest.mark.parametrize("pause_s", [0.0, 1.2])
def test_an_answer_that_runs_dry_is_noted(pause_s: float) -> None:
    def hesitant(ask: cmd.Ask) -> list[tuple[float, ev.Event]]:
        return [
            (0.1, ev.AnswerText(ask.request, "One moment. ")),
            (0.2 + pause_s, ev.AnswerText(ask.request, "It is ten.")),
            (0.3 + pause_s, ev.AnswerDone(ask.request, "stop")),
        ]

    call = VirtualCall(None, hesitant)
    call.until_quiet()
    call.caller_says("What time is it?")
    call.until_quiet()
    noted = [each.data["ms"] for each in call.journal(Happened) if each.what == "ran_dry"]
    assert len(noted) == (1 if pause_s else 0)
    assert all(isinstance(ms, int) and 300 <= ms <= 1200 for ms in noted)
