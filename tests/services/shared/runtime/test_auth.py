"""Who may come in, and who must not be let in by mistake."""

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.auth import KeyRing, load_keys, offered_key
from services.shared.runtime.config import ConfigError, ServerConfig

RING = KeyRing(["red", "blue"])


def connection(
    authorization: str | None = None, subprotocols: list[str] | None = None
) -> HTTPConnection:
    headers = []
    if authorization is not None:
        headers.append((b"authorization", authorization.encode("latin-1")))
    scope = {"type": "websocket", "headers": headers, "subprotocols": subprotocols or []}
    return HTTPConnection(scope)


@pytest.mark.parametrize(
    ("offer", "key"),
    [
        (connection("Bearer blue"), "blue"),
        (connection("bearer   blue "), "blue"),
        (connection(subprotocols=["voice", "blue"]), "blue"),
        (connection("Bearer red", ["voice", "blue"]), "red"),
        (connection("Basic blue"), None),
        (connection("Bearer"), None),
        (connection("Bearer "), None),
        (connection("blue"), None),
        (connection(""), None),
        (connection(subprotocols=["voice"]), None),
        (connection(subprotocols=["blue", "voice"]), None),
        (connection(subprotocols=["voice", "blue", "more"]), None),
        (connection(), None),
    ],
)
def test_where_a_key_is_looked_for(offer: HTTPConnection, key: str | None) -> None:
    assert offered_key(offer) == key


def test_accepted_keys_open() -> None:
    for key in ("red", "blue"):
        RING.check(connection(f"Bearer {key}"))


@pytest.mark.parametrize("key", ["green", "re", "redd", "Red", "red blue", "é", "x" * 10_000])
def test_other_keys_do_not(key: str) -> None:
    with pytest.raises(ProtocolError, match="not accepted") as caught:
        RING.check(connection(f"Bearer {key}"))
    assert caught.value.code is ErrorCode.UNAUTHORIZED
    assert key not in caught.value.message


def test_who_offers_none_is_told_how() -> None:
    with pytest.raises(ProtocolError, match="Authorization: Bearer KEY"):
        RING.check(connection())


def test_without_keys_everybody_may_come() -> None:
    KeyRing([]).check(connection())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_the_loopback_no_key_is_needed(host: str) -> None:
    assert not load_keys(ServerConfig(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "voice.example", ""])
def test_an_open_door_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="no API key is configured"):
        load_keys(ServerConfig(host=host))
    assert not load_keys(ServerConfig(host=host, allow_unauthenticated=True))
    assert load_keys(ServerConfig(host=host, api_keys=(SecretStr("red"),)))


def test_keys_come_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# callers\nred\n\n  blue  # the browser\n", encoding="utf-8")
    ring = load_keys(ServerConfig(api_keys=(SecretStr(" green\n"),), api_keys_file=file))
    assert [ring.accepts(key) for key in ("red", "blue", "green")] == [True] * 3
    assert [ring.accepts(key) for key in ("", "# callers", "callers")] == [False] * 3


def test_a_keys_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-file"):
        load_keys(ServerConfig(api_keys_file=tmp_path / "no-such-file"))


def test_a_keys_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="api_keys_file cannot be read"):
        load_keys(ServerConfig(api_keys_file=tmp_path / "keys"))


def test_a_lock_without_a_key_is_no_open_door(tmp_path: Path) -> None:
    """Not even on the loopback: behind a proxy that is where strangers come from."""
    (tmp_path / "keys").write_text("# none yet\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no key"):
        load_keys(ServerConfig(api_keys_file=tmp_path / "keys"))
    with pytest.raises(ConfigError, match="holds no key"):
        load_keys(ServerConfig(api_keys=(SecretStr(" "),)))


def test_a_key_stands_for_an_owner_without_being_told() -> None:
    ring = KeyRing(["ada", "bob"])
    ada, bob = (ring.owner(connection(f"Bearer {key}")) for key in ("ada", "bob"))
    assert len({ada, bob, "public"}) == 3
    assert ring.owner(connection("Bearer ada")) == ada
    assert hashlib.sha256(b"ada").hexdigest()[:32] != ada
    assert KeyRing([]).owner(connection("Bearer ada")) == "public"
