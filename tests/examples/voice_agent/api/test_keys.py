"""Keys are kept as digests, and mistakes in their file are told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.api.errors import ApiError
from examples.voice_agent.api.keys import NOBODY, KeyRing, key_digest, new_key
from examples.voice_agent.store.errors import StoreError


def connection(key: str) -> HTTPConnection:
    headers = [(b"authorization", f"Bearer {key}".encode("latin-1"))]
    return HTTPConnection({"type": "http", "headers": headers})


def test_a_key_is_its_holders() -> None:
    keys = {name: new_key() for name in ("alice", "bob")}
    ring = KeyRing({name: key_digest(key) for name, key in keys.items()})
    for name, key in keys.items():
        assert ring.holder(connection(key)) == name
    assert len(set(keys.values())) == 2
    assert KeyRing().holder(connection("")) == NOBODY


@given(st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=60))
def test_no_other_key_opens(key: str) -> None:
    ring = KeyRing({"alice": key_digest("va_secret")})
    if key.strip() != "va_secret":
        with pytest.raises(ApiError):
            ring.holder(connection(key))


@pytest.mark.parametrize("content", ["", "# nobody\n", "alice va_plainkey\n", "alice\n"])
def test_a_file_without_good_keys_is_refused(tmp_path: Path, content: str) -> None:
    (file := tmp_path / "keys").write_text(content)
    with pytest.raises(StoreError, match="keys"):
        KeyRing.load(file)
    with pytest.raises(StoreError):
        KeyRing.load(tmp_path / "none")


def test_an_open_door_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="there are no keys"):
        ApiConfig(host="0.0.0.0")
    ApiConfig(host="0.0.0.0", keys_file=tmp_path / "keys")
    ApiConfig(host="0.0.0.0", allow_unauthenticated=True)
