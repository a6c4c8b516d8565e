"""A call's journal, as a conversation writes it."""

import asyncio
import time
from collections.abc import Callable, Iterator

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.ports import (
    AgentTurn,
    CallAnswered,
    CallBegan,
    CallEnded,
    CallerTurn,
    Entry,
    Happened,
    Outcome,
    Speculation,
    ToolCall,
    ToolRan,
    ToolResult,
    TransferCall,
    TurnTimes,
    Usage,
    UsageNoted,
)
from examples.voice_agent.transport import CallInfo

BEGAN_S = 5000.0
UNIX_S = 1_800_000_000.0


def agent(name: str = "helpdesk", prompt: str = "You help.") -> AgentConfig:
    return AgentConfig(name=name, prompt=prompt, tools=("transfer_call",))


def began(called: str = "15550100", unix_s: float = UNIX_S) -> CallBegan:
    info = CallInfo("1700000000.7", "+84901234567", called, {"CHANNEL": "PJSIP/trunk-1"})
    return CallBegan(BEGAN_S, unix_s, info, "helpdesk", "en")


def ended(at_s: float = BEGAN_S + 30) -> CallEnded:
    return CallEnded(at_s, Outcome.CALLER_HUNG_UP, "Normal Clearing", True, 30.0, 42)


def whole_call() -> Iterator[Entry]:
    at = BEGAN_S
    yield began()
    yield CallAnswered(at + 0.2)
    yield AgentTurn(at + 2, 1, "greeting", "Hello there", "Hello there")
    yield CallerTurn(at + 5, 2, "Where is my order?", 0.93, "en")
    yield UsageNoted(at + 5.3, "llama-4-scout", Usage(1000, 50, 600))
    yield ToolRan(
        at + 5.6,
        3,
        ToolCall("c1", "customer_lookup", {"number": "+84901234567"}),
        ToolResult("order 7 is on its way"),
        0.25,
    )
    yield AgentTurn(
        at + 8,
        3,
        "answer",
        "It is on its way. It will come tomorrow.",
        "It is on its way.",
        1200,
        TurnTimes(at + 5, at + 5.1, at + 5.2, at + 5.1, at + 5.3, at + 5.5, at + 5.6),
        Speculation.HIT,
    )
    yield Happened(at + 8, "barge_in", {"words": 3})
    yield CallerTurn(at + 9, 4, "1#", by_keys=True)
    yield ToolRan(
        at + 10,
        5,
        ToolCall("c2", "transfer_call", {"target": "200"}),
        ToolResult("ok", True, TransferCall("200", "sales")),
        0.01,
    )
    yield ended()


async def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        await asyncio.sleep(0.01)
