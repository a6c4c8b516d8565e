"""How much a key or a token has used, and whether there is more.

Counted in the memory of one instance: days begin anew with each start of it, and behind a load
balancer each instance counts for itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from services.shared.protocol.base import ErrorCode, ProtocolError

_DAY_S = 86_400
_RETURNS_AT_ONCE = 10
"""For each session: so often its client may come back at once, and once a second for ever."""


class Use(StrEnum):
    """What is counted."""

    AUDIO_S = "audio_s"
    """Seconds of audio heard."""
    CHARACTERS = "characters"
    """Characters of text to be spoken."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much is permitted; None: as much as anybody."""

    sessions: int | None = None
    """At a time."""
    audio_s: float | None = None
    characters: int | None = None

    def of(self, use: Use) -> float | None:
        return self.audio_s if use is Use.AUDIO_S else self.characters


class Account:
    """What one key (each day anew) or one token (in its life) has used."""

    def __init__(self, *, daily: bool) -> None:
        self.daily = daily
        self.sessions = 0
        self._returns = 0.0
        """Attempts to come back that still weigh, at `_returns_at`."""
        self._returns_at = 0.0
        self._day = -1
        self._used: dict[Use, float] = {}

    def used(self, use: Use, now: float) -> float:
        """So far, on the day of `now` (seconds since 1970)."""
        day = int(now // _DAY_S) if self.daily else 0
        if day != self._day:
            self._day = day
            self._used = dict.fromkeys(Use, 0.0)
        return self._used[use]

    def add(self, use: Use, amount: float, now: float) -> None:
        self._used[use] = self.used(use, now) + amount

    def returns(self, sessions: int, now: float) -> float:
        """Attempts to come back to one of so many sessions, as far as they have not faded away."""
        faded = max(0.0, now - self._returns_at) * sessions
        self._returns, self._returns_at = max(0.0, self._returns - faded), now
        return self._returns

    def add_return(self) -> None:
        self._returns += 1


Charged = Sequence[tuple[Account, Allowance]]
"""Everybody who is charged for the same: a token and the key that signed it."""


def spend(charged: Charged, use: Use, amount: float, now: float) -> None:
    """Count what is about to be used.

    Raises:
        ProtocolError: `quota_exceeded`: it would be more than is permitted; nothing was counted.
    """
    for account, allowance in charged:
        _check(account, allowance, use, amount, now)
    for account, _ in charged:
        account.add(use, amount, now)


_LEAST = {Use.AUDIO_S: 1.0, Use.CHARACTERS: 1.0}
"""With less left a session would end as it begins, and its client perhaps try again at once."""


@contextmanager
def session(charged: Charged, use: Use | None, now: float) -> Iterator[None]:
    """Count one session or request in and out.

    Args:
        use: what it will use, of which something must be left.

    Raises:
        ProtocolError: `quota_exceeded`.
    """
    for account, allowance in charged:
        if use is not None:
            _check(account, allowance, use, _LEAST[use], now)
        if allowance.sessions is not None and account.sessions >= allowance.sessions:
            whose = "key" if account.daily else "token"
            raise ProtocolError(
                ErrorCode.QUOTA_EXCEEDED,
                f"this {whose} may have {allowance.sessions} sessions at a time; end one first",
            )
    for account, _ in charged:
        account.sessions += 1
    try:
        yield
    finally:
        for account, _ in charged:
            account.sessions -= 1


def come_back(charged: Charged, sessions: int, now: float) -> None:
    """Count an attempt to go on with a session, which has its place already.

    Args:
        sessions: how many there can be where the allowance does not say.

    Raises:
        ProtocolError: `quota_exceeded`: there were too many attempts; this one was not counted.
    """
    for account, allowance in charged:
        most = max(1, sessions if allowance.sessions is None else allowance.sessions)
        if account.returns(most, now) + 1 > most * _RETURNS_AT_ONCE:
            raise ProtocolError(
                ErrorCode.QUOTA_EXCEEDED,
                f"too many attempts to come back; in the long run {most} a second are permitted",
                retry_after_s=1,
            )
    for account, _ in charged:
        account.add_return()


def _check(account: Account, allowance: Allowance, use: Use, amount: float, now: float) -> None:
    limit = allowance.of(use)
    if limit is not None and account.used(use, now) + amount > limit:
        raise _used_up(account, use, limit, now)


def _used_up(account: Account, use: Use, limit: float, now: float) -> ProtocolError:
    amount = f"{limit / 60:g} minutes of audio" if use is Use.AUDIO_S else f"{limit:g} characters"
    if not account.daily:
        return ProtocolError(
            ErrorCode.QUOTA_EXCEEDED,
            f"this token is good for {amount}, and that would be more; get another one",
            retryable=False,
        )
    return ProtocolError(
        ErrorCode.QUOTA_EXCEEDED,
        f"this key is good for {amount} a day, and that would be more; "
        "the next day begins at midnight UTC",
        retry_after_s=_DAY_S - int(now % _DAY_S),
    )
