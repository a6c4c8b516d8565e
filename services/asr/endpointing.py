"""From voice activity to turns: when somebody starts, pauses, goes on and is done. Pure.

Time is counted in frames of audio. A frame is voiced above one threshold while somebody speaks and
above a higher one otherwise (hysteresis), so that soft word endings belong to the speech and
breathing does not start any.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from services.asr.messages import TurnMode, TurnOptions


@dataclass(frozen=True, slots=True)
class EndpointingOptions:
    """All times in milliseconds of audio."""

    frame_ms: int = 32
    mode: TurnMode = TurnMode.SMART
    start_threshold: float = 0.5
    """Voice probability that starts or resumes speech."""
    stop_threshold: float = 0.35
    """Voice probability under which a speaker is silent."""
    start_ms: int = 96
    """Voice that starts a turn; shorter sounds are clicks. Pre-roll keeps the first phoneme."""
    resume_ms: int = 64
    pre_roll_ms: int = 500
    speculate_ms: int = 96
    """Silence after which the final is begun, in case this is the end."""
    judge_ms: tuple[int, ...] = (200, 500, 1000)
    """Silences at which the turn model may end the turn."""
    judge_lead_ms: int = 40
    """It is asked so much earlier, about as long as it takes, as if the silence went on."""
    threshold: float = 0.5
    """Turn model's probability above which the turn is over."""
    silence_ms: int = 600
    """Mode `silence`: this much ends the turn."""
    max_silence_ms: int = 2000
    """Mode `smart`: this much ends the turn whatever the model says; wall clock if audio stops."""

    def overridden(self, turn: TurnOptions) -> "EndpointingOptions":
        """These options with what a client asked for."""
        asked = turn.model_dump(exclude_none=True)
        return replace(self, **asked) if asked else self

    @property
    def limit_ms(self) -> int | None:
        """Silence that ends a turn by itself."""
        limits = {TurnMode.SMART: self.max_silence_ms, TurnMode.SILENCE: self.silence_ms}
        return limits.get(self.mode)


class Event(StrEnum):
    STARTED = "started"
    """`start_ms` of voice in a row: a turn begins (its first voiced frame: `voiced_run` back)."""
    PAUSED = "paused"
    """Silence for `speculate_ms`."""
    JUDGE = "judge"
    """The turn model should be asked now for its answer to be there when it counts."""
    RESUMED = "resumed"
    """Voice again after PAUSED."""
    TIMED_OUT = "timed_out"
    """Silence long enough to end the turn without asking."""


class Endpointer:
    """Feeds on one voice probability a frame; the caller ends turns with :meth:`end_turn`."""

    def __init__(self, options: EndpointingOptions) -> None:
        self.options = options
        self.in_turn = False
        self.paused = False
        self.voiced_run = 0
        """Consecutive voiced frames up to now."""
        self.silent_run = 0
        """Frames since speech was last certain."""
        self._marks: list[int] = []
        self._verdict_ms = 0

    @property
    def verdict_in_ms(self) -> int:
        """Silence still to come before the turn model's answer counts."""
        return 0 if self._reached(self._verdict_ms) else self._verdict_ms - self.silence_ms

    @property
    def verdict_due(self) -> bool:
        """The turn model's answer counts: its silence is over and nothing sounds like more."""
        return self.paused and self.voiced_run == 0 and self._reached(self._verdict_ms)

    @property
    def silence_ms(self) -> int:
        return self.silent_run * self.options.frame_ms

    def feed(self, probability: float) -> list[Event]:
        """One frame further."""
        speaking = self.in_turn and not self.paused
        floor = self.options.stop_threshold if speaking else self.options.start_threshold
        voiced = probability >= floor
        self.voiced_run = self.voiced_run + 1 if voiced else 0
        if not self.in_turn:
            return self._feed_idle()
        return self._feed_voiced() if voiced else self._feed_silent()

    def begin_turn(self) -> None:
        self.in_turn = True
        self.resume()

    def resume(self) -> None:
        """What is heard is speech."""
        self.paused = False
        self.silent_run = 0
        self._marks = []

    def end_turn(self) -> None:
        """The turn is over; a sound after its last pause may become the next one."""
        if not self.paused:
            self.voiced_run = 0
        self.in_turn = False
        self.resume()

    def _feed_idle(self) -> list[Event]:
        if self.voiced_run * self.options.frame_ms < self.options.start_ms:
            return []
        self.begin_turn()
        return [Event.STARTED]

    def _feed_voiced(self) -> list[Event]:
        if not self.paused:
            self.silent_run = 0
            return []
        self.silent_run += 1  # until it is certain that this is speech
        if self.voiced_run * self.options.frame_ms < self.options.resume_ms:
            return self._silence_events()
        self.resume()
        return [Event.RESUMED]

    def _feed_silent(self) -> list[Event]:
        self.silent_run += 1
        events = []
        if not self.paused and self._reached(self.options.speculate_ms):
            self.paused = True
            smart = self.options.mode is TurnMode.SMART
            self._marks = list(self.options.judge_ms) if smart else []
            events.append(Event.PAUSED)
        return events + self._silence_events()

    def _reached(self, silence_ms: int) -> bool:
        """To the nearest frame."""
        return self.silence_ms + self.options.frame_ms // 2 >= silence_ms

    def _silence_events(self) -> list[Event]:
        events = []
        if self._marks and self._reached(self._marks[0] - self.options.judge_lead_ms):
            self._verdict_ms = self._marks.pop(0)
            events.append(Event.JUDGE)
        limit = self.options.limit_ms
        if limit is not None and self.silence_ms >= limit:
            events.append(Event.TIMED_OUT)
        return events
