"""Whose web pages are served."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.runtime.origins import Origins, checked_origin

APP = "https://app.example"


@pytest.mark.parametrize(
    ("given_as", "origin"),
    [
        ("*", "*"),
        (APP, APP),
        ("HTTPS://App.Example", APP),
        ("https://app.example:443", APP),
        ("http://app.example:80", "http://app.example"),
        ("http://[::1]:8001", "http://[::1]:8001"),
    ],
)
def test_origins_are_written_in_one_way(given_as: str, origin: str) -> None:
    assert checked_origin(given_as) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "app.example",
        "https://",
        f"{APP}/",
        f"{APP}/x",
        "ftp://a",
        "http://[",
        f"{APP}?x",
    ],
)
def test_what_is_no_origin_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no origin|Invalid|netloc"):
        checked_origin(text)


@pytest.mark.parametrize("locked", [True, False])
def test_pages_of_elsewhere_are_refused_unless_listed(locked: bool) -> None:
    nobody, app = Origins((), locked=locked), Origins((APP,), locked=locked)
    assert nobody.permits(None, "voice.example")
    assert not nobody.permits(APP, "voice.example")
    assert app.permits(APP, "voice.example")
    assert app.permits("https://APP.example:443", "voice.example")
    for other in ("http://app.example", "https://app.example:8443", "https://evil.app.example",
                  "https://app.example.evil", "null", "https://app.example\x00", ""):  # fmt: skip
        assert not app.permits(other, "voice.example")
    assert Origins(("*",), locked=locked).permits("https://evil.example", "voice.example")


def test_ones_own_pages_are_served() -> None:
    locked, unlocked = Origins((), locked=True), Origins((), locked=False)
    for host in ("localhost:8001", "127.0.0.1:8001", "[::1]:8001", "localhost"):
        assert unlocked.permits(f"http://{host}", host)
        assert locked.permits(f"http://{host}", host)
    assert locked.permits("https://voice.example", "voice.example")
    assert locked.permits("https://voice.example", "voice.example:443")
    assert not locked.permits("https://voice.example:8443", "voice.example")


def test_without_keys_a_name_that_is_made_to_mean_this_machine_is_not_believed() -> None:
    unlocked = Origins((), locked=False)
    assert not unlocked.permits("http://evil.example:8001", "evil.example:8001")
    assert not unlocked.permits("http://localhost.evil.example", "localhost.evil.example")


@given(st.text(max_size=60), st.text(max_size=60), st.booleans())
def test_headers_may_hold_anything(origin: str, host: str, locked: bool) -> None:
    Origins((APP,), locked=locked).permits(origin, host)
    assert Origins((APP,), locked=locked).permits(APP, host)
