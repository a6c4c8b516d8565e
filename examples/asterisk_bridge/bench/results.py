"""The shape of a call benchmark's results, as they stand in the JSON. Durations are ms."""

from typing import Any

from services.bench.results import Record, Spread


class Stages(Record):
    """Of one answer. `…_ms` since the true end of the caller's speech unless it says otherwise."""

    pending_ms: float | None
    """The recogniser told what the turn is, if it is one (`turn_pending`)."""
    final_ms: float | None
    """The turn was over."""
    llm_ms: float | None
    """Request to the model's first word."""
    speech_ms: float | None
    """The model's first word to the first audio: the rest of its first clause, and TTS."""
    ready_ms: float | None
    """The first audio of the answer was there."""
    held_ms: float | None
    """An answer was there before the turn was over, and waited so long."""
    release_ms: float | None
    """From when both were there to the transport."""
    wire_ms: float | None
    """The first audio was given to the transport."""
    transport_ms: float | None
    """From there to the first sound in the caller's recording."""


class AnswerResult(Record):
    question: str
    """Name of the recording."""
    answer_ms: float | None
    """By the recording: from the end of the caller's speech to the first sound of the answer."""
    first_sound_ms: float | None
    """To the first sound of whatever kind: where an answer is late, a filler comes before it."""
    log_ms: float | None
    """By the journal: from the ASR service's end of speech to the first audio on the wire."""
    speculation: str | None
    stages: Stages | None


class CallResult(Record):
    caller: str
    failure: str | None
    greeting_ms: float | None
    answers: tuple[AnswerResult, ...]
    silence_ms: float | None
    """By the recording: from the onset of the interruption to the agent's last sound while the
    caller speaks; None: there was no silence."""
    pause_log_ms: float | None
    """By the journal: to the moment at which the agent heard of it."""
    interrupted: bool | None
    """The agent took it for an interruption, in the end; None: there is no journal."""
    holes: int
    """Places where the agent's speech breaks off in the recording."""
    slips: int
    """Packets that came so late that they had to be placed anew."""
    phone_late_ms: float
    """By how much the phone's own packets left late, at worst."""
    ran_dry: int | None
    """By the journal: the agent had nothing more to play in the midst of an utterance."""
    decode_ms: tuple[float, ...]
    """Of each final, as the recogniser tells."""


class StageSpreads(Record):
    """Distributions of :class:`Stages` over all answers."""

    pending_ms: Spread
    final_ms: Spread
    decode_ms: Spread
    llm_ms: Spread
    speech_ms: Spread
    ready_ms: Spread
    held_ms: Spread
    release_ms: Spread
    wire_ms: Spread
    transport_ms: Spread


class CallLevel(Record):
    """One number of simultaneous calls."""

    concurrency: int
    seconds: float
    answer_ms: Spread
    """The figure: by the recordings."""
    log_answer_ms: Spread
    greeting_ms: Spread
    silence_ms: Spread
    log_pause_ms: Spread
    speculation: dict[str, int]
    stages: StageSpreads
    holes: int
    slips: int
    phone_late_ms: float
    ran_dry: int | None
    unanswered: int
    """Questions without an answer."""
    bridged: int
    """Answers before which a filler was heard."""
    unheard: int
    """Interruptions after which the agent went on."""
    cpu_percent: dict[str, float]
    """100 is one core."""
    calls: tuple[CallResult, ...]

    @property
    def losses(self) -> list[str]:
        """What must not be."""
        failed = [call for call in self.calls if call.failure is not None]
        counts = {
            f"{len(failed)} calls failed": len(failed),
            f"{self.unanswered} questions without an answer": self.unanswered,
            f"{self.unheard} interruptions without silence": self.unheard,
        }
        return [told for told, count in counts.items() if count]


class ShortCalls(Record):
    """Many calls one after the other, and what they left."""

    calls: int
    given_up: int
    """Hung up before they were answered, on purpose."""
    failures: tuple[str, ...]
    seconds: float
    before: dict[str, float]
    """Channels, bridges, sessions, and files, threads and memory of each program."""
    after: dict[str, float]
    left: tuple[str, ...]
    """What there is more of than there may be."""

    @property
    def losses(self) -> list[str]:
        failed = [f"{len(self.failures)} calls failed"] if self.failures else []
        return [*failed, *self.left]


class CallBench(Record):
    """`voice bench call`."""

    date: str
    machine: dict[str, Any]
    setup: dict[str, Any]
    levels: tuple[CallLevel, ...]


class ShortBench(Record):
    """`voice bench call --short`."""

    date: str
    machine: dict[str, Any]
    setup: dict[str, Any]
    levels: tuple[ShortCalls, ...]
    """One."""
