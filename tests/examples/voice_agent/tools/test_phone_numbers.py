"""Numbers as callers say them and networks send them."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.voice_agent.tools.base import PluginError
from examples.voice_agent.tools.phone_numbers import phone_forms


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("+84 901 234 567", "US"),
        ("0901234567", "VN"),
        ("0901.234.567", "VN"),
        ("0084901234567", "VN"),
        ("tel:+84-901-234-567", "VN"),
        ("011 84 901 234 567", "US"),
    ],
)
def test_one_number_in_many_ways(text: str, region: str) -> None:
    forms = phone_forms(text, region)
    assert (forms.e164, forms.digits, forms.national_digits) == (
        "+84901234567", "84901234567", "0901234567",
    )  # fmt: skip
    assert {"+84901234567", "0901234567", "0901 234 567"} < set(forms.spellings)


def test_an_extension_is_a_number_too() -> None:
    assert phone_forms("601", "VN").spellings == ("601",)


@pytest.mark.parametrize("text", ["", "anonymous", "1", "1" * 30])
def test_what_is_none(text: str) -> None:
    with pytest.raises(PluginError, match="no phone number"):
        phone_forms(text, "VN")


@given(st.text(max_size=60))
def test_anything_is_a_number_or_refused(text: str) -> None:
    try:
        forms = phone_forms(text, "VN")
    except PluginError:
        return
    assert forms.digits.isascii() and forms.digits.isdigit() and forms.best in forms.spellings


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(PluginError) as caught:
        phone_forms("0901234567", "VN")
    assert "uv sync --group agent" in caught.value.reason
