"""Where keys come from, and that no door is open by mistake."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from services.shared.protocol.base import ProtocolError
from services.shared.runtime.auth import KeyRing
from services.shared.runtime.config import ConfigError, ServerConfig
from services.shared.runtime.key_files import KeySource, load_keys
from services.shared.runtime.keys import KeyFile, Scope, new_key, write_key_file

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def opens(ring: KeyRing, key: str) -> bool:
    headers = [(b"authorization", f"Bearer {key}".encode())]
    try:
        ring.check(HTTPConnection({"type": "http", "headers": headers}), Scope.ASR)
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_the_loopback_no_key_is_needed(host: str) -> None:
    assert not load_keys(ServerConfig(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "voice.example", ""])
def test_an_open_door_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="no API key is configured"):
        load_keys(ServerConfig(host=host))
    assert not load_keys(ServerConfig(host=host, allow_unauthenticated=True))
    assert load_keys(ServerConfig(host=host, api_keys=(SecretStr("red"),)))


def test_plain_keys_come_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# callers\nred\n\n  blue  # the browser\n", encoding="utf-8")
    ring = load_keys(ServerConfig(api_keys=(SecretStr(" green\n"),), api_keys_file=file))
    assert [opens(ring, key) for key in ("red", "blue", "green")] == [True] * 3
    assert [opens(ring, key) for key in ("", "# callers", "callers")] == [False] * 3


@pytest.mark.parametrize("setting", ["api_keys_file", "keys_file", "token_secret_file"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} cannot be read.*no-such-file"):
        load_keys(ServerConfig.model_validate({setting: tmp_path / "no-such-file"}))
    (tmp_path / "keys").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=f"{setting} cannot be read"):
        load_keys(ServerConfig.model_validate({setting: tmp_path / "keys"}))


def test_a_lock_without_a_key_is_no_open_door(tmp_path: Path) -> None:
    """Not even on the loopback: behind a proxy that is where strangers come from."""
    file = tmp_path / "keys"
    file.write_text("# none yet\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no key"):
        load_keys(ServerConfig(api_keys_file=file))
    with pytest.raises(ConfigError, match="holds no key"):
        load_keys(ServerConfig(api_keys=(SecretStr(" "),)))
    # One that `voice keys` has still to fill is locked until then.
    assert load_keys(ServerConfig(keys_file=file))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("keys: [", "no YAML"),
        ("- 1", "not made by `voice keys`"),
        ("nonsense: 1", "not made by `voice keys`"),
        ("version: 2", "version"),
        ("keys: [{id: a}]", "name"),
        ("!!python/object:os.system {}", "no YAML"),
    ],
)
def test_a_keys_file_that_is_none_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"keys_file .*keys\.yaml: .*{sentence}"):
        load_keys(ServerConfig(keys_file=file))


def test_a_change_is_noticed_also_without_a_change_of_size(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    keys = []
    for name in ("one", "two"):
        key, record = new_key(name, scopes=[Scope.ASR], now=NOW)
        keys.append((key, write_key_file(KeyFile(keys=(record,)))))
    file.write_text(keys[0][1], encoding="utf-8")
    source = KeySource(ServerConfig(keys_file=file))
    ring = KeyRing(records=source.read())
    assert source.changed() is None
    before = file.stat()
    replacement = tmp_path / "new"
    replacement.write_text(keys[1][1], encoding="utf-8")
    os.utime(replacement, ns=(before.st_atime_ns, before.st_mtime_ns))
    replacement.replace(file)
    changed = source.changed()
    assert changed is not None
    ring.replace(changed)
    assert [opens(ring, key) for key, _ in keys] == [False, True]
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        source.changed()


def test_a_change_that_could_not_be_read_is_read_later(tmp_path: Path) -> None:
    """Else a key that is revoked while descriptors are short would stay good."""
    file = tmp_path / "keys.yaml"
    _, record = new_key("one", scopes=[Scope.ASR], now=NOW)
    file.write_text(write_key_file(KeyFile(keys=(record,))), encoding="utf-8")
    source = KeySource(ServerConfig(keys_file=file))
    assert source.read() == [record]
    revoked = record.model_copy(update={"revoked_at": NOW})
    file.write_text(write_key_file(KeyFile(keys=(revoked,))), encoding="utf-8")
    with without_descriptors(), pytest.raises(ConfigError, match="Too many open files"):
        source.changed()
    assert source.changed() == [revoked]
    assert source.changed() is None


@contextmanager
def without_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    # Those of before may have higher numbers; new ones may not.
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x" * 31 + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="less than 32 characters"):
        load_keys(ServerConfig(token_secret_file=tmp_path / "secret"))
    (tmp_path / "secret").write_text("x" * 32, encoding="utf-8")
    assert load_keys(ServerConfig(token_secret_file=tmp_path / "secret")).tokens is not None
