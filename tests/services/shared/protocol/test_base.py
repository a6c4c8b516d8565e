"""The table of errors, and how an error reads on the wire."""

import pytest

from services.shared.protocol.base import ERRORS, CloseCode, Error, ErrorCode, ProtocolError


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_is_in_the_table(code: ErrorCode) -> None:
    traits = ERRORS[code]
    assert 400 <= traits.http_status <= 599
    assert traits.close is None or traits.close in CloseCode
    assert traits.close is not CloseCode.NORMAL, "an error is no normal end"


def test_the_table_has_nothing_else() -> None:
    assert set(ERRORS) == set(ErrorCode)


@pytest.mark.parametrize("code", [ErrorCode.OVERLOADED, ErrorCode.SHUTTING_DOWN])
def test_who_is_refused_for_lack_of_room_may_come_again(code: ErrorCode) -> None:
    assert ERRORS[code].http_status == 503
    assert ERRORS[code].retryable


def test_what_the_client_did_wrong_is_not_worth_a_retry() -> None:
    assert not ERRORS[ErrorCode.INVALID_MESSAGE].retryable
    assert not ERRORS[ErrorCode.UNAUTHORIZED].retryable


def test_an_error_tells_its_traits() -> None:
    error = ProtocolError(ErrorCode.UNKNOWN_VOICE, "no such voice", context_id="c1")
    assert not error.fatal
    assert error.to_message() == Error(
        code=ErrorCode.UNKNOWN_VOICE, message="no such voice", retryable=False, context_id="c1"
    )
    assert ProtocolError(ErrorCode.INVALID_JSON, "no JSON").fatal
