"""Whatever happens in a call, in whatever order: what must never be."""

from hypothesis import given, settings
from hypothesis import strategies as st

from examples.voice_agent import commands as cmd
from examples.voice_agent import events as ev
from examples.voice_agent.ports import EndCall, ToolResult, ToolSpec
from tests.examples.voice_agent.virtual_call import (
    Script,
    VirtualCall,
    agent,
    calls,
    fails,
    says,
    silent,
)

READS = ToolSpec("reads", "reads", {}, side_effects=False)
DOES = ToolSpec("does", "does", {})
ENDS = ToolSpec("ends", "ends", {})
SCRIPTS: list[Script] = [
    says("Yes, it is. Shall I book it for you?"),
    says("One two three four five six seven eight.", delay_s=2.0),
    calls("reads"),
    calls("does", text="Let me see."),
    calls("ends", text="Goodbye then."),
    silent,
    fails,
]
RESULTS = {
    "reads": (1.2, ToolResult("read")),
    "does": (0.3, ToolResult("done")),
    "ends": (0.05, ToolResult("ok", action=EndCall())),
}
TEXTS = st.sampled_from(["", "mm-hm", "yes", "stop", "what time is it", "it is", "book a table"])
EVENTS: st.SearchStrategy[ev.Event] = st.one_of(
    st.just(ev.SpeechBegan()),
    st.builds(ev.PartialHeard, TEXTS),
    st.builds(ev.PendingHeard, TEXTS),
    st.just(ev.SpeechResumed()),
    st.builds(ev.FinalHeard, TEXTS, st.booleans()),
    st.builds(ev.KeyPressed, st.sampled_from("0#")),
    st.just(ev.HearingLost("away")),
    st.just(ev.HearingBack()),
    st.builds(ev.SpeechFailed, st.integers(1, 6), st.integers(0, 2), st.just("away")),
    st.builds(ev.Heard, st.integers(1, 6), st.floats(0, 3000), st.booleans()),
)
EARLY: st.SearchStrategy[ev.Event] = st.one_of(
    st.just(ev.SpeechBegan()),
    st.builds(ev.PartialHeard, TEXTS),
    st.builds(ev.PendingHeard, TEXTS),
    st.just(ev.SpeechResumed()),
    st.builds(ev.FinalHeard, TEXTS, st.just(False)),
)
"""No turn ends by these."""
STEPS = st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.1, 3.0])), max_size=25)


def _play(scripts: list[Script], steps: list[tuple[ev.Event, float]]) -> VirtualCall:
    config = agent(limits={"call_s": 90}, fallback={"transfer_to": "600"})
    call = VirtualCall(config, *scripts, tools=[READS, DOES, ENDS], results=RESULTS)
    for event, pause_s in steps:
        call.tell(event)
        call.run(pause_s)
    return call


@settings(max_examples=60)
@given(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=4), STEPS)
def test_every_call_ends_and_is_told_once(
    scripts: list[Script], steps: list[tuple[ev.Event, float]]
) -> None:
    call = _play(scripts, steps)
    call.run(120.0)
    assert call.ended is not None
    assert call.entries[-1] is call.ended
    assert len(call.all(cmd.HangUp)) + len(call.all(cmd.Transfer)) == 1
    assert call.dialogue.saying.queue == []


@settings(max_examples=60)
@given(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=4), STEPS)
def test_the_line_is_driven_sensibly(
    scripts: list[Script], steps: list[tuple[ev.Event, float]]
) -> None:
    call = _play(scripts, steps)
    paused = False
    cancelled: set[int] = set()
    for _, command in call.commands:
        match command:
            case cmd.Pause():
                assert not paused
                paused = True
            case cmd.Resume():
                assert paused
                paused = False
            case cmd.Silence():
                paused = False
            case cmd.CancelSpeech(utterance):
                cancelled.add(utterance)
            case cmd.Play(utterance):
                assert utterance not in cancelled
    barge = call.dialogue.turn.barge
    assert not paused or (barge and barge.paused), "the line waits for a decision, or not at all"


@settings(max_examples=60)
@given(st.lists(st.tuples(EARLY, st.sampled_from([0.0, 0.1, 0.5, 3.0])), max_size=25))
def test_nothing_is_done_while_the_turn_may_go_on(steps: list[tuple[ev.Event, float]]) -> None:
    call = _play([calls("does"), calls("ends"), says("Fine.")], steps)
    assert not call.all(cmd.RunTool)
    assert not call.all(cmd.Play)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=4), STEPS)
def test_what_a_model_is_told_is_well_formed(
    scripts: list[Script], steps: list[tuple[ev.Event, float]]
) -> None:
    call = _play(scripts, steps)
    for ask in call.all(cmd.Ask):
        roles = [message.role for message in ask.messages]
        assert roles[0] == "system"
        assert ("user", "user") not in zip(roles, roles[1:], strict=False)
        wanted: set[str] = set()
        for message in ask.messages:
            if message.role == "tool":
                assert message.tool_call_id in wanted
                wanted.discard(str(message.tool_call_id))
            else:
                assert not wanted  # every call's result comes right after it
                wanted = {each.call_id for each in message.tool_calls}
        assert not wanted


@settings(max_examples=60)
@given(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=4), STEPS)
def test_what_was_heard_begins_what_was_written(
    scripts: list[Script], steps: list[tuple[ev.Event, float]]
) -> None:
    call = _play(scripts, steps)
    for turn in call.agent_turns():
        assert turn.generated.startswith(turn.spoken)
