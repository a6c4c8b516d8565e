"""How a call ends: after the last word was heard, or when that takes too long. Sans I/O."""

from collections.abc import Callable
from dataclasses import dataclass

from examples.voice_agent.call_notes import CallNotes
from examples.voice_agent.commands import Command, GiveBack, HangUp, Transfer
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.ports import CallEnded, Outcome
from examples.voice_agent.saying import Saying
from examples.voice_agent.sentences import Sentence

Departure = Transfer | GiveBack | HangUp


@dataclass(frozen=True, slots=True)
class _Plan:
    command: Departure
    outcome: Outcome
    deadline: float
    final: bool
    """What the caller says does not change it."""


class Ending:
    """What is planned for the end of the call, and whether it is over."""

    def __init__(
        self,
        out: Callable[[Command], None],
        config: AgentConfig,
        notes: CallNotes,
        saying: Saying,
        *,
        goes_on: bool = False,
    ) -> None:
        self.answered = False
        self.over = False
        self.asr_audio_s = 0.0
        self._out = out
        self._config = config
        self._notes = notes
        self._saying = saying
        self._goes_on = goes_on
        self._plan: _Plan | None = None
        self._left: _Plan | None = None
        """It was carried out."""

    @property
    def planned(self) -> bool:
        return self._plan is not None or self._left is not None

    @property
    def final(self) -> bool:
        """The call ends, whatever the caller may say."""
        return self._left is not None or (self._plan is not None and self._plan.final)

    @property
    def deadline(self) -> float | None:
        return self._plan.deadline if self._plan else None

    def hang_up(self, now: float, outcome: Outcome, cause: str, *, final: bool = False) -> None:
        """Plan it; what is being said is said first."""
        self._set(HangUp(cause), outcome, now, final=final)

    def transfer(self, now: float, outcome: Outcome, target: str, *, final: bool = False) -> None:
        self._set(Transfer(target), outcome, now, final=final)

    def fall_back(self, now: float) -> None:
        """Say that something is broken, then hand the call over, or end it."""
        target = self._config.fallback.transfer_to
        if self.answered:
            to_somebody = target is not None or self._goes_on
            self._saying.sentence(now, Sentence.FALLBACK if to_somebody else Sentence.FAILED)
        if target is None:
            self._set(*self._last_resort, now, final=True)
        else:
            self.transfer(now, Outcome.FALLBACK, target, final=True)

    @property
    def _last_resort(self) -> tuple[Departure, Outcome]:
        """When nobody is named who takes over."""
        if self._goes_on:
            return GiveBack(), Outcome.FALLBACK
        return HangUp("failed"), Outcome.FAILED

    def call_off(self) -> None:
        """The caller goes on talking."""
        if self._plan is not None and not self._plan.final:
            self._plan = None

    def carry_out(self, now: float, *, agent_speaks: bool) -> None:
        """Do it when the last word has been heard, or cannot be waited for any longer."""
        plan = self._plan
        if plan is not None and (not agent_speaks or now >= plan.deadline):
            self._plan, self._left = None, plan
            self._out(plan.command)

    def transfer_failed(self, now: float, reason: str) -> None:
        plan, self._left = self._left, None
        self._notes.happened(now, "transfer_failed", reason=reason)
        if plan is not None and plan.final:
            self._left = _Plan(*self._last_resort, now, final=True)
            self._out(self._left.command)
        else:
            self._saying.sentence(now, Sentence.TRANSFER_FAILED)

    def gone(self, now: float, cause: str, *, by_caller: bool) -> None:
        """The call is over; the last entry of the journal."""
        self.over = True
        outcome = self._left.outcome if self._left else Outcome.CALLER_HUNG_UP
        if self._left is None and not by_caller:
            outcome = Outcome.FAILED
        characters = self._saying.tts_characters
        entry = CallEnded(now, outcome, cause, by_caller, self.asr_audio_s, characters)
        self._notes.write(entry)

    def _set(self, command: Departure, outcome: Outcome, now: float, *, final: bool) -> None:
        if not self.final:
            deadline = now + self._config.limits.closing_s
            self._plan = _Plan(command, outcome, deadline, final)
