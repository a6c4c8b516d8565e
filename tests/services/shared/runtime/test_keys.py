"""What is kept of keys."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.runtime.keys import (
    KeyFile,
    KeyFileError,
    KeyLimits,
    KeyRecord,
    Scope,
    digest_of,
    new_key,
    parse_key_file,
    write_key_file,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_key_is_long_and_new_each_time_and_is_not_kept() -> None:
    made = [new_key("Ada", scopes=[Scope.ASR], now=NOW) for _ in range(50)]
    assert len({key for key, _ in made}) == len({record.id for _, record in made}) == 50
    for key, record in made:
        prefix, key_id, secret = key.split("_", 2)
        assert (prefix, key_id) == ("vk", record.id)
        assert len(secret) == 43
        assert record.digest == digest_of(key)
        written = write_key_file(KeyFile(keys=(record,)))
        assert key not in written
        assert secret not in written
        # As a header's value and as a WebSocket's subprotocol (RFC 7230's token).
        assert all(sign.isalnum() or sign in "-_" for sign in key)


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"scopes": []}, "needs a scope: asr, tts"),
        ({"expires_at": NOW}, "expire before"),
        ({"owner": "../etc"}, "owner"),
        ({"name": "two\nlines"}, "name"),
        ({"name": ""}, "name"),
    ],
)
def test_what_no_key_can_be(about: dict[str, object], sentence: str) -> None:
    wanted = {"name": "Ada", "scopes": [Scope.ASR], "now": NOW} | about
    with pytest.raises(KeyFileError, match=sentence):
        new_key(**wanted)  # type: ignore[arg-type]


def test_a_key_says_why_it_opens_nothing() -> None:
    _, record = new_key("Ada", scopes=Scope, now=NOW, expires_at=NOW + timedelta(1))
    assert record.trouble(NOW) is None
    assert record.trouble(NOW + timedelta(1)) == "expired at 2026-11-22T12:00:00+00:00"
    revoked = record.model_copy(update={"revoked_at": NOW})
    assert revoked.trouble(NOW) == "was revoked"


def test_two_keys_with_one_id_or_digest_are_refused() -> None:
    _, record = new_key("Ada", scopes=[Scope.ASR], now=NOW)
    twin = record.model_copy(update={"id": "other"})
    for pair in ((record, record), (record, twin)):
        text = write_key_file(KeyFile.model_construct(keys=pair))
        with pytest.raises(KeyFileError, match="twice"):
            parse_key_file(text)


MOMENTS = st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC))
NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff\ufffe\uffff"),
    min_size=1,
    max_size=100,
)
RECORDS = st.builds(
    KeyRecord,
    id=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    name=NAMES,
    owner=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    scopes=st.frozensets(st.sampled_from(Scope)),
    created_at=MOMENTS,
    expires_at=st.none() | MOMENTS,
    revoked_at=st.none() | MOMENTS,
    limits=st.builds(
        KeyLimits,
        sessions=st.none() | st.integers(0, 10**9),
        audio_minutes_per_day=st.none() | st.floats(0, 10**9),
        characters_per_day=st.none() | st.integers(0, 10**9),
        voices=st.none() | st.integers(0, 10**9),
    ),
)


@given(st.lists(RECORDS, max_size=4, unique_by=(lambda key: key.id, lambda key: key.sha256)))
def test_what_is_written_is_read(keys: list[KeyRecord]) -> None:
    file = KeyFile(keys=tuple(keys))
    assert parse_key_file(write_key_file(file)) == file


@given(st.text(max_size=200))
def test_any_text_is_keys_or_a_sentence(text: str) -> None:
    try:
        assert parse_key_file(text).keys == ()
    except KeyFileError as error:
        assert str(error)
