"""From the callers' diaries to what was lost, doubled or crossed, and how long it took. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import inf

from services.bench.cluster.records import Diary, Outage, Reply, Side, Turn
from services.bench.cluster.results import Accounts
from services.bench.results import Spread

_LENGTH_MS = 1.0
"""Audio may differ by so much from what was told: rounding."""


def account(diaries: Sequence[Diary], *, exact: bool, since_s: float = -inf) -> Accounts:
    """Add up what all of them noted.

    Args:
        exact: the engines were fake, so that every word could be checked.
        since_s: latencies are those of what began after this; everything is counted all the same.
    """
    turns = list(chain.from_iterable(diary.turns for diary in diaries))
    replies = list(chain.from_iterable(diary.replies for diary in diaries))
    answered = [turn for turn in turns if turn.answered]
    spoken = [reply for reply in replies if reply.finished_s is not None]
    wrong = [turn for turn in answered if not turn.own]
    crossed = sum(len(diary.crossed) for diary in diaries)
    if exact:
        crossed += len(wrong) + sum(not reply.own for reply in spoken)
    decodes = [turn.decode_ms for turn in answered if turn.flush]
    return Accounts(
        callers=len(diaries),
        utterances=len(turns),
        answered=len(answered),
        unanswered=len(turns) - len(answered),
        doubled=sum(diary.doubled for diary in diaries),
        crossed=crossed,
        unlike=0 if exact else len(wrong),
        partly=sum(not turn.whole for turn in answered),
        cut=sum(turn.cuts for turn in turns),
        late=sum(diary.late for diary in diaries),
        said_again=sum(max(0, turn.said - 1) for turn in turns),
        replies=len(replies),
        spoken=len(spoken),
        unspoken=len(replies) - len(spoken),
        wrong_length=sum(abs(each.received_ms - each.told_ms) > _LENGTH_MS for each in spoken),
        asked_again=sum(max(0, reply.asked - 1) for reply in replies),
        broken_off=sum(reply.broken_off for reply in replies),
        underruns=sum(reply.underruns for reply in replies),
        dropped_ms=sum(diary.dropped_ms for diary in diaries),
        refused=sum(diary.refused for diary in diaries),
        errors=dict(Counter(chain.from_iterable(diary.errors for diary in diaries))),
        checks_that_could_not_fail=sum(turn.foreign_would_pass for turn in answered),
        flush_to_final_ms=Spread.of_seconds(
            final_after(turn) for turn in answered if turn.began_s >= since_s
        ),
        flush_to_audio_ms=Spread.of_seconds(
            audio_after(reply) for reply in replies if reply.began_s >= since_s
        ),
        decode_ms=round(sum(decodes) / len(decodes), 1) if decodes else None,
    )


def final_after(turn: Turn) -> float | None:
    """Seconds from the caller's flush to the final; None when there was none, or a repetition."""
    if turn.final_s is None or turn.flushed_s is None or turn.said != 1:
        return None
    return turn.final_s - turn.flushed_s


def audio_after(reply: Reply) -> float | None:
    """Seconds from the flush of the beginning to the first audio; None as above."""
    if reply.first_s is None or reply.flushed_s is None or reply.asked != 1:
        return None
    return reply.first_s - reply.flushed_s


def seen_in(outages: Iterable[Outage]) -> dict[str, int]:
    """What clients saw, in words, the most frequent first."""
    seen = Counter(f"{each.side} {each.why} → {each.how}" for each in outages)
    return dict(seen.most_common())


def back_after(outages: Iterable[Outage], since: Mapping[Side, float]) -> list[float | None]:
    """Seconds until each session went on.

    Args:
        since: side → when the fault began; without it, from when the loss was noticed.
    """
    return [
        None if each.back_s is None else each.back_s - since.get(each.side, each.lost_s)
        for each in outages
    ]
