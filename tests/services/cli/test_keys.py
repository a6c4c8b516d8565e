"""`voice keys`, as operators use it: in one process, but for two that write at once."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.keys import app
from services.shared.runtime.key_store import KeyStore
from services.shared.runtime.keys import (
    ALL_SCOPES,
    MAX_KEYS,
    KeyLimits,
    KeyRecord,
    Scope,
    digest_of,
    plain_record,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "keys.yaml"


def keys(*arguments: str | Path, file: Path | None = None) -> Result:
    at = ["--file", str(file)] if file else []
    return CliRunner().invoke(app, [*map(str, arguments), *at], env={"COLUMNS": "200"})


def made(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def only(file: Path) -> KeyRecord:
    [record] = KeyStore(file).read()
    return record


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_who_could_read_the_file_can_read_it_after_root_has_changed_it(file: Path) -> None:
    """Else a service would not hear of the key that was just revoked."""
    made(keys("create", "one", file=file))
    os.chown(file, 12345, 23456)
    file.chmod(0o640)
    assert keys("revoke", only(file).id, file=file).exit_code == 0
    state = file.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (12345, 23456, 0o640)


def test_a_key_is_shown_once_and_kept_as_a_digest(file: Path) -> None:
    key = made(
        keys(
            "create", "Acme's hotline", "--scope", "asr", "--scope", "tokens", "--owner", "acme",
            "--expires", "90d", "--sessions", "20", "--audio-minutes", "600.5",
            "--characters", "5000", "--voices", "3", file=file,
        )
    )  # fmt: skip
    record = only(file)
    assert record.digest == digest_of(key)
    assert (record.name, record.owner) == ("Acme's hotline", "acme")
    assert record.scopes == {Scope.ASR, Scope.TOKENS}
    assert record.limits == KeyLimits(
        sessions=20, audio_minutes_per_day=600.5, characters_per_day=5000, voices=3
    )
    assert record.expires_at == record.created_at + timedelta(days=90)
    assert key not in file.read_text(encoding="utf-8")
    listed = keys("list", file=file)
    assert record.id in listed.stdout
    assert key.split("_", 2)[2] not in listed.output
    assert file.stat().st_mode & 0o777 == 0o644, "a service of another user reads it"


def test_what_is_left_out(file: Path) -> None:
    made(keys("create", "Ada", file=file))
    record = only(file)
    assert record.scopes == {Scope.ASR, Scope.TTS}
    assert (record.owner, record.expires_at, record.limits) == (record.id, None, KeyLimits())


def test_a_revoked_key_stays_on_record(file: Path) -> None:
    made(keys("create", "Ada", file=file))
    assert keys("revoke", only(file).id, file=file).exit_code == 0
    assert only(file).trouble(datetime.now(UTC)) == "was revoked"
    assert "was revoked" in keys("list", file=file).stdout


def test_a_key_gets_other_rights_and_stays_the_same_key(file: Path) -> None:
    key = made(keys("create", "Ada", "--sessions", "2", "--voices", "3", file=file))
    before = only(file)
    changes = ["--scope", "asr", "--sessions", "5", "--voices", "none", "--characters", "100"]
    done = keys("change", before.id, *changes, file=file)
    assert done.exit_code == 0, done.output
    assert done.stderr.strip() == f"{before.id} Ada: asr; sessions 5, characters_per_day 100"
    after = only(file)
    assert after.digest == digest_of(key)
    assert after.scopes == {Scope.ASR}
    assert after.limits == KeyLimits(sessions=5, characters_per_day=100)
    kept = {"id", "name", "owner", "created_at", "expires_at"}
    assert after.model_dump(include=kept) == before.model_dump(include=kept)


def test_what_a_change_does_not_name_stays(file: Path) -> None:
    made(keys("create", "Ada", "--scope", "tokens", "--sessions", "2", file=file))
    before = only(file)
    assert keys("change", before.id, "--name", "Bo", "--expires", "2d", file=file).exit_code == 0
    after = only(file)
    assert (after.name, after.scopes, after.limits) == ("Bo", before.scopes, before.limits)
    assert after.expires_at is not None and after.expires_at > after.created_at
    assert keys("change", before.id, "--expires", "never", file=file).exit_code == 0
    assert only(file).expires_at is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([], "what is to change"),
        (["--sessions", "many"], "sessions"),
        (["--sessions", "-1"], "sessions"),
        (["--audio-minutes", "nan"], "audio_minutes"),
        (["--expires", "2020-01-01"], "is past"),
        (["--name", "a\nb"], "name"),
    ],
)
def test_a_change_that_cannot_be_is_told_and_none(
    file: Path, changes: list[str], sentence: str
) -> None:
    made(keys("create", "Ada", file=file))
    before = file.read_bytes()
    done = keys("change", only(file).id, *changes, file=file)
    assert done.exit_code == 1
    assert sentence in re.sub(r"\s+", " ", done.output)
    assert file.read_bytes() == before


def test_a_revoked_key_stays_revoked(file: Path) -> None:
    made(keys("create", "Ada", file=file))
    keys("revoke", only(file).id, file=file)
    done = keys("change", only(file).id, "--sessions", "5", file=file)
    assert (done.exit_code, "was revoked" in done.output) == (1, True)


@pytest.mark.parametrize("keep", [None, "24h"])
def test_a_replaced_key_leaves_its_owner_behind(file: Path, keep: str | None) -> None:
    first = made(keys("create", "Ada", "--voices", "2", "--scope", "voices", file=file))
    keeping = ["--keep", keep] if keep else []
    second = made(keys("rotate", only(file).id, *keeping, file=file))
    old, new = KeyStore(file).read()
    assert (old.digest, new.digest) == (digest_of(first), digest_of(second))
    for field in ("owner", "scopes", "limits", "name"):
        assert getattr(new, field) == getattr(old, field)
    trouble = old.trouble(new.created_at)
    assert trouble == (None if keep else "was revoked")
    assert old.trouble(new.created_at + timedelta(hours=24)) is not None
    refused = keys("rotate", old.id, file=file)
    assert (refused.exit_code, "revoked" in refused.output) == ((0, False) if keep else (1, True))


def test_a_plain_list_is_taken_over_with_its_owners(file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    key = "k" * 30
    plain.write_text(f"# ours\n{key}  # the hotline\n\n{'j' * 24}\n", encoding="utf-8")
    assert keys("import", plain, file=file).exit_code == 0
    first, second = KeyStore(file).read()
    before = plain_record(key)
    assert (first.digest, first.owner, first.id) == (before.digest, before.owner, before.id)
    assert (first.name, second.name) == ("the hotline", "line 4")
    assert first.scopes == ALL_SCOPES
    again = keys("import", plain, file=file)
    assert (again.exit_code, "there already" in again.output) == (1, True)
    plain.write_text("too-short\n", encoding="utf-8")
    short = keys("import", plain, file=file)
    assert (short.exit_code, "too-short" in short.output) == (1, False)


def test_a_list_that_makes_no_keys_file_is_told(file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for lines, sentence in (
        (["k" * 30, "k" * 30], "stands there twice"),
        ([f"{number:030}" for number in range(MAX_KEYS + 1)], "at most 2000"),
    ):
        plain.write_text("\n".join(lines), encoding="utf-8")
        refused = keys("import", plain, file=file)
        assert refused.exit_code == 1 and not file.exists()
        assert sentence in re.sub(r"\s+", " ", refused.output)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["revoke", "nobody"], "no key 'nobody'"),
        (["create", "Ada", "--expires", "soon"], "no time"),
        (["create", "Ada", "--expires", "2020-01-01"], "before it exists"),
        (["create", "Ada", "--owner", "../x"], "owner"),
        (["rotate", "nobody", "--keep", "long"], "no span"),
    ],
)
def test_what_cannot_be_done_is_told(file: Path, arguments: list[str], sentence: str) -> None:
    made(keys("create", "Ada", file=file))
    before = file.read_text(encoding="utf-8")
    done = keys(*arguments, file=file)
    assert done.exit_code == 1
    assert sentence in re.sub(r"\s+", " ", done.output)
    assert file.read_text(encoding="utf-8") == before


def test_a_file_that_is_missing_or_none_of_ours_is_told(file: Path) -> None:
    assert "does not exist" in re.sub(r"\s+", " ", keys("list", file=file).output)
    file.parent.mkdir()
    file.write_text("nonsense: 1\n", encoding="utf-8")
    assert "not made by" in keys("create", "Ada", file=file).output
    assert file.read_text(encoding="utf-8") == "nonsense: 1\n"


def test_the_secret_is_for_its_owner_alone_and_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "secret"
    assert keys("secret", out).exit_code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    secret = out.read_text(encoding="ascii").strip()
    assert len(secret) == 64
    assert keys("secret", out).exit_code == 1
    assert out.read_text(encoding="ascii").strip() == secret


def test_two_writers_lose_nothing(file: Path) -> None:
    program = (
        "import sys; from services.cli.keys import app;"
        "[app(['create', f'{sys.argv[1]}{n}', '--file', sys.argv[2]], standalone_mode=False)"
        " for n in range(10)]"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, name, str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in "ab"
    ]
    assert [writer.wait(timeout=50) for writer in writers] == [0, 0]
    names = {key.name for key in KeyStore(file).read()}
    assert names == {f"{who}{n}" for who in "ab" for n in range(10)}
