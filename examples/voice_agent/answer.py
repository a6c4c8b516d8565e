"""One answer of the agent: requests to the language model with tools in between. Book-keeping."""

from dataclasses import dataclass, field

from examples.voice_agent.history import AgentItem, Item
from examples.voice_agent.ports import CallAction, ToolCall, ToolResult
from examples.voice_agent.utterance import Utterance


@dataclass(slots=True)
class Step:
    """One request, with the tools that it wants."""

    request: int
    item: AgentItem
    calls: list[ToolCall] = field(default_factory=list)
    waiting: list[ToolCall] = field(default_factory=list)
    """They have side effects, and the caller's turn may not be over."""
    started: dict[str, float] = field(default_factory=dict)
    """Call → when it was started."""
    results: dict[str, ToolResult] = field(default_factory=dict)
    done: bool = False
    """The model has ended its request."""

    @property
    def tools_finished(self) -> bool:
        return self.done and len(self.results) == len(self.calls)

    @property
    def running(self) -> list[ToolCall]:
        return [
            call
            for call in self.calls
            if call.call_id in self.started and call.call_id not in self.results
        ]


@dataclass(slots=True)
class Answer:
    text: str
    """What it answers."""
    utterance: Utterance
    released: bool
    """The caller's turn is over, so it may be heard and may do things."""
    step: Step
    steps: int = 1
    retries: int = 0
    tts_retries: int = 0
    written: bool = False
    """No more text comes."""
    action: CallAction | None = None
    """To be done when the last word was heard."""
    record: list[Item] = field(default_factory=list)
    """Its part of the history, until it is released."""
    fillers: int = 0
    owed_since: float = 0.0
    """Since when the caller waits: the end of the turn, or the latest filler's beginning."""
