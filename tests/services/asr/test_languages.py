"""Language tags."""

import pytest

from services.asr.languages import known_language
from services.shared.protocol.base import ErrorCode, ProtocolError


@pytest.mark.parametrize("asked", ["vi", "VI", "vi-VN", "Vi-vn"])
def test_a_tag_is_its_language(asked: str) -> None:
    assert known_language(asked, ("en", "vi")) == "vi"


@pytest.mark.parametrize("asked", ["xx", "english", "", "-en", "v"])
def test_an_unknown_one_is_refused_with_the_known_ones(asked: str) -> None:
    with pytest.raises(ProtocolError, match="en, vi") as caught:
        known_language(asked, ("en", "vi"))
    assert caught.value.code is ErrorCode.UNSUPPORTED_LANGUAGE


def test_a_long_one_is_not_repeated_whole() -> None:
    with pytest.raises(ProtocolError) as caught:
        known_language("x" * 5000, ("en",))
    assert len(caught.value.message) < 100
