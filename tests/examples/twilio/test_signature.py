"""Twilio's signatures, by the examples of its documentation and its own library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.twilio.signature import is_genuine, signature

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FORM = [
    ("To", "+18005551212"),
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
]
SIGNED = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
"""Published with these, for the auth token 12345."""


def test_the_published_example() -> None:
    assert signature("12345", URL, FORM) == SIGNED
    assert is_genuine("12345", URL, FORM, SIGNED)


@pytest.mark.parametrize(
    ("token", "url", "form", "signed"),
    [
        ("1234", URL, FORM, SIGNED),
        ("12345", URL.replace("foo=1", "foo=2"), FORM, SIGNED),
        ("12345", URL.replace("https", "http"), FORM, SIGNED),
        ("12345", URL, FORM[1:], SIGNED),
        ("12345", URL, [*FORM, ("Extra", "1")], SIGNED),
        ("12345", URL, FORM, SIGNED.lower()),
        ("12345", URL, FORM, ""),
        ("12345", URL, FORM, "é\udce9".encode("latin-1", "ignore").decode("latin-1")),
    ],
)
def test_whatever_differs_is_forged(
    token: str, url: str, form: list[tuple[str, str]], signed: str
) -> None:
    assert not is_genuine(token, url, form, signed)


def test_a_value_that_was_sent_twice_counts_once() -> None:
    assert signature("t", URL, [("a", "1"), ("a", "2"), ("a", "1")]) == signature(
        "t", URL, [("a", "2"), ("a", "1")]
    )


@pytest.mark.parametrize("port", ["", ":443"])
def test_the_port_may_be_signed_or_not(port: str) -> None:
    signed = signature("t", f"https://calls.example.com{port}/twilio/voice", FORM)
    for known in ("", ":443"):
        assert is_genuine("t", f"https://calls.example.com{known}/twilio/voice", FORM, signed)


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=5), st.text())
def test_the_order_does_not_matter_and_nothing_else_fits(
    form: list[tuple[str, str]], other: str
) -> None:
    clean = [
        (n.encode("utf-8", "ignore").decode(), v.encode("utf-8", "ignore").decode())
        for n, v in form
    ]
    signed = signature("t", URL, clean)
    assert is_genuine("t", URL, reversed(clean), signed)
    if other != signed:
        assert not is_genuine("t", URL, clean, other.encode("utf-8", "ignore").decode())
