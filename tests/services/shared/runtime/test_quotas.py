"""Counting what keys and tokens use."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.quotas import Account, Allowance, Use, come_back, session, spend

DAY = 86_400.0


def test_a_day_ends_at_midnight() -> None:
    key = ((Account(daily=True), Allowance(characters=100)),)
    spend(key, Use.CHARACTERS, 100, 5 * DAY + 60)
    with pytest.raises(ProtocolError, match="100 characters a day.*midnight UTC") as caught:
        spend(key, Use.CHARACTERS, 1, 6 * DAY - 60)
    assert caught.value.code is ErrorCode.QUOTA_EXCEEDED
    assert caught.value.retry_after_s == 60
    assert caught.value.retryable
    spend(key, Use.CHARACTERS, 100, 6 * DAY)


def test_a_token_is_charged_with_its_key_and_is_not_renewed() -> None:
    token, key = Account(daily=False), Account(daily=True)
    both = ((token, Allowance(audio_s=60)), (key, Allowance(audio_s=90)))
    spend(both, Use.AUDIO_S, 60, 0)
    with pytest.raises(ProtocolError, match="this token is good for 1 minutes") as caught:
        spend(both, Use.AUDIO_S, 0.1, 3 * DAY)
    assert not caught.value.retryable
    assert (token.used(Use.AUDIO_S, 3 * DAY), key.used(Use.AUDIO_S, 3 * DAY)) == (60, 0)


@given(st.lists(st.floats(0.01, 50), max_size=40), st.floats(0, 100), st.floats(0, 100))
def test_nobody_gets_more_than_the_smaller_limit(
    amounts: list[float], first: float, second: float
) -> None:
    accounts = Account(daily=False), Account(daily=True)
    charged = tuple(
        zip(accounts, (Allowance(audio_s=first), Allowance(audio_s=second)), strict=True)
    )
    taken = 0.0
    for amount in amounts:
        try:
            spend(charged, Use.AUDIO_S, amount, 0)
        except ProtocolError:
            assert taken + amount > min(first, second)
        else:
            taken += amount
    assert taken <= min(first, second)
    assert [account.used(Use.AUDIO_S, 0) for account in accounts] == [taken, taken]


def test_sessions_are_counted_out_again() -> None:
    key = ((Account(daily=True), Allowance(sessions=2)),)
    for _ in range(3):
        with ExitStack() as stack:
            stack.enter_context(session(key, None, 0))
            stack.enter_context(session(key, None, 0))
            with pytest.raises(ProtocolError, match="2 sessions at a time"), session(key, None, 0):
                pass
    assert key[0][0].sessions == 0


def test_nobody_begins_with_nothing_left() -> None:
    """Else a client that comes back at once would come, and go, for the rest of the day."""
    key = ((Account(daily=True), Allowance(audio_s=60, characters=10)),)
    spend(key, Use.AUDIO_S, 59.5, 0)
    late = session(key, Use.AUDIO_S, DAY - 60)
    with pytest.raises(ProtocolError, match="1 minutes of audio a day") as caught, late:
        pass
    assert caught.value.retry_after_s == 60
    with session(key, Use.CHARACTERS, 0), session(key, None, 0):
        pass
    with session(key, Use.AUDIO_S, DAY):
        pass


def test_who_comes_back_too_often_waits_and_is_then_let_in_again() -> None:
    key = ((Account(daily=True), Allowance(sessions=2)),)
    for _ in range(20):
        come_back(key, 100, 50.0)
    for _ in range(3):
        with pytest.raises(ProtocolError, match="2 a second") as caught:
            come_back(key, 100, 50.0)
    assert (caught.value.code, caught.value.retry_after_s) == (ErrorCode.QUOTA_EXCEEDED, 1)
    for _ in range(2):
        come_back(key, 100, 51.0)
    with pytest.raises(ProtocolError):
        come_back(key, 100, 40.0)  # the clock was set back
    come_back(key, 100, 41.0)


def test_without_a_limit_of_its_own_a_key_comes_back_as_often_as_there_are_sessions() -> None:
    token, key = Account(daily=False), Account(daily=True)
    both = ((token, Allowance()), (key, Allowance()))
    for _ in range(30):
        come_back(both, 3, 0.0)
    with pytest.raises(ProtocolError, match="3 a second"):
        come_back(both, 3, 0.0)
