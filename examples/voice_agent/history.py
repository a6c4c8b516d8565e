"""The conversation as the language model sees it: what both sides said and the caller heard."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from examples.voice_agent.ports import ChatMessage, ToolCall
from examples.voice_agent.utterance import Utterance


@dataclass(slots=True)
class CallerItem:
    text: str


@dataclass(slots=True)
class AgentItem:
    """One request's part of an utterance; what it holds follows from what was heard of it."""

    utterance: Utterance
    start: int = 0
    end: int | None = None
    """None: to the end of the text."""
    calls: tuple[ToolCall, ...] = ()


@dataclass(slots=True)
class ToolItem:
    call_id: str
    content: str


Item = CallerItem | AgentItem | ToolItem


class History:
    """Grows at its end only, for the sake of prefix caches; half of it goes when it is too long."""

    def __init__(self, prompt: str, max_messages: int) -> None:
        self._prompt = ChatMessage("system", prompt)
        self._max = max_messages
        self._items: list[Item] = []

    def add(self, items: Iterable[Item]) -> None:
        self._items += items
        if len(self._items) > self._max:
            kept = self._items[-self._max // 2 :]
            while kept and not isinstance(kept[0], CallerItem):
                kept.pop(0)  # a tool's result without its call is an error at most servers
            self._items = kept or self._items[-1:]

    def messages(self, further: Sequence[Item] = ()) -> tuple[ChatMessage, ...]:
        """All of it, with `further` items that are not in it yet."""
        messages = [self._prompt]
        for item in (*self._items, *further):
            message = _message(item)
            if message is None:
                continue
            if message.role == "user" == messages[-1].role:  # nothing between was heard
                both = f"{messages.pop().content} {message.content}"
                message = ChatMessage("user", both)
            messages.append(message)
        return tuple(messages)


def _message(item: Item) -> ChatMessage | None:
    match item:
        case CallerItem(text):
            return ChatMessage("user", text)
        case ToolItem(call_id, content):
            return ChatMessage("tool", content, tool_call_id=call_id)
        case AgentItem(utterance, start, end, calls):
            text = utterance.between(start, end)
            return ChatMessage("assistant", text, tool_calls=calls) if text or calls else None
