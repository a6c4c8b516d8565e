"""Writes what happens in a call to the journal, with the turns of both sides numbered."""

from collections.abc import Callable

from examples.voice_agent.commands import Command, Write
from examples.voice_agent.ports import AgentTurn, CallerTurn, Entry, Happened
from examples.voice_agent.utterance import Utterance


class CallNotes:
    def __init__(self, out: Callable[[Command], None]) -> None:
        self.turn = 0
        """Of the latest turn, whose ever it was."""
        self._out = out

    def write(self, entry: Entry) -> None:
        self._out(Write(entry))

    def happened(self, now: float, what: str, **data: str | int | float | bool | None) -> None:
        self.write(Happened(now, what, data))

    def caller(
        self,
        now: float,
        text: str,
        *,
        confidence: float | None = None,
        language: str | None = None,
        by_keys: bool = False,
    ) -> None:
        self.turn += 1
        self.write(CallerTurn(now, self.turn, text, confidence, language, by_keys))

    def agent(self, now: float, utterance: Utterance, interrupted_at_ms: float | None) -> None:
        """An utterance is over."""
        self.turn += 1
        entry = AgentTurn(
            at_s=now,
            turn=self.turn,
            kind=utterance.kind,
            generated=utterance.text.strip(),
            spoken=utterance.spoken,
            interrupted_at_ms=None if interrupted_at_ms is None else round(interrupted_at_ms),
            times=utterance.turn_times(),
            speculation=utterance.speculation,
        )
        self.write(entry)
