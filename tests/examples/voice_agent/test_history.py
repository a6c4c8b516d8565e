"""The conversation as the model is told of it."""

from examples.voice_agent.history import AgentItem, CallerItem, History, ToolItem
from examples.voice_agent.ports import ToolCall
from examples.voice_agent.utterance import Utterance


def test_what_nobody_heard_is_left_out_and_callers_turns_become_one() -> None:
    history = History("prompt", 100)
    unheard = Utterance(1, "answer", "Hello there.", heard_to=0)
    history.add([CallerItem("I want"), AgentItem(unheard), CallerItem("a table")])
    roles = [(m.role, m.content) for m in history.messages()]
    assert roles == [("system", "prompt"), ("user", "I want a table")]


def test_half_of_it_goes_but_never_a_call_without_its_result() -> None:
    history = History("prompt", 6)
    for number in range(10):
        call = ToolCall(f"t{number}", "lookup", {})
        utterance = Utterance(number, "answer", "Yes.")
        history.add(
            [
                CallerItem(f"question {number}"),
                AgentItem(utterance, calls=(call,)),
                ToolItem(call.call_id, "result"),
            ]
        )
        roles = [message.role for message in history.messages()]
        assert roles[:2] == ["system", "user"]
        assert len(roles) <= 7
        assert roles.count("tool") == roles.count("assistant")
        assert history.messages()[-3].content == f"question {number}"
