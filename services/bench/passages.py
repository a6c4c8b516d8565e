"""Matching what was said to what came back, by time. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.asr.messages import Final, Partial, ServerMessage
from services.bench.script import Spoken

_SLACK_S = 0.3
"""How far off a service's idea of where speech lies may be; half of this is under any pause."""

Arrival = tuple[float, ServerMessage]


@dataclass(slots=True)
class Segment:
    """The partials up to one final, and that final, with their times of arrival."""

    partials: list[tuple[float, Partial]] = field(default_factory=list)
    final: Final | None = None
    at_s: float = 0.0


@dataclass(slots=True)
class Turn:
    """Segments up to a final with `turn_end`."""

    segments: list[Segment] = field(default_factory=list)
    ended: bool = False

    @property
    def finals(self) -> list[Final]:
        return [segment.final for segment in self.segments if segment.final is not None]

    @property
    def start_s(self) -> float:
        return self.finals[0].start_ms / 1000

    @property
    def end_s(self) -> float:
        return self.finals[-1].end_ms / 1000

    @property
    def at_s(self) -> float:
        """Arrival of the last final."""
        return self.segments[-1].at_s

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.finals if final.text)


@dataclass(slots=True)
class Passage:
    """Recordings and turns that overlap: one of each when all is well.

    Two turns on one recording: it was cut. Two recordings in one turn: they were merged. No turn:
    nothing was heard. No recording: something was heard in a pause.
    """

    spoken: list[Spoken] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    @property
    def reference(self) -> str:
        return " ".join(spoken.text for spoken in self.spoken)

    @property
    def text(self) -> str:
        return " ".join(turn.text for turn in self.turns if turn.text)

    @property
    def cut(self) -> int:
        """Turn ends too many."""
        return sum(
            max(0, sum(_overlap(spoken, turn) for turn in self.turns) - 1) for spoken in self.spoken
        )

    @property
    def merged(self) -> int:
        """Turn ends too few."""
        return sum(
            max(0, sum(_overlap(spoken, turn) for spoken in self.spoken) - 1) for turn in self.turns
        )

    @property
    def final_s(self) -> float | None:
        """True end of the last recording to the arrival of the last final."""
        if not self.spoken or not self.turns or not self.turns[-1].ended:
            return None
        return self.turns[-1].at_s - self.spoken[-1].end_s

    @property
    def first_partial_s(self) -> float | None:
        """True start of the first recording to the first partial with words."""
        if not self.spoken or not self.turns:
            return None
        for segment in self.turns[0].segments:
            for at, partial in segment.partials:
                if partial.text:
                    return at - self.spoken[0].start_s
        return None


def turns_of(events: Iterable[Arrival]) -> list[Turn]:
    """Sort messages into turns; a partial belongs to the next final.

    A last turn without `turn_end` is kept, not `ended`, if it has a final at all.
    """
    turns: list[Turn] = []
    turn, segment = Turn(), Segment()
    for at, message in events:
        if isinstance(message, Partial):
            segment.partials.append((at, message))
        elif isinstance(message, Final):
            segment.final, segment.at_s = message, at
            turn.segments.append(segment)
            segment = Segment()
            if message.turn_end:
                turn.ended = True
                turns.append(turn)
                turn = Turn()
    if turn.segments:
        turns.append(turn)
    return turns


def passages_of(spoken: Sequence[Spoken], turns: Sequence[Turn]) -> list[Passage]:
    """Group recordings and turns that overlap in time, in order."""
    spans: list[tuple[float, float, Spoken | Turn]] = [
        *((one.start_s - _SLACK_S, one.end_s + _SLACK_S, one) for one in spoken),
        *((turn.start_s, turn.end_s, turn) for turn in turns),
    ]
    passages: list[Passage] = []
    reached = float("-inf")
    for start, end, item in sorted(spans, key=lambda span: span[:2]):
        if start > reached:
            passages.append(Passage())
        if isinstance(item, Turn):
            passages[-1].turns.append(item)
        else:
            passages[-1].spoken.append(item)
        reached = max(reached, end)
    return passages


def _overlap(spoken: Spoken, turn: Turn) -> bool:
    return turn.start_s <= spoken.end_s + _SLACK_S and turn.end_s >= spoken.start_s - _SLACK_S
