"""`voice keys`: API keys, and the secret that clients' tokens are signed with."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from services.cli.failures import CommandFailed, told
from services.shared.runtime.key_store import KeyStore, imported, write_secret
from services.shared.runtime.keys import (
    KeyFileError,
    KeyLimits,
    KeyRecord,
    Scope,
    changed_key,
    new_key,
)

app = typer.Typer(
    no_args_is_help=True, help="API keys: make, list, change, replace and revoke them."
)

File = Annotated[
    Path, typer.Option("--file", "-f", envvar="VOICE_KEYS_FILE", help="As server.keys_file.")
]
Id = Annotated[str, typer.Argument(help="A key's id, as `voice keys list` shows it.")]
Scopes = Annotated[
    list[Scope] | None, typer.Option("--scope", help="What it is good for; several times.")
]
Expires = Annotated[
    str | None, typer.Option(help="When it ends: 90d, 12h, or a date. Default: never.")
]

_SPAN = re.compile(r"(\d{1,5})([hd])")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what for.")],
    file: File,
    scope: Scopes = None,
    owner: Annotated[
        str | None, typer.Option(help="Keys of one owner share cloned voices. Default: its own.")
    ] = None,
    expires: Expires = None,
    sessions: Annotated[int | None, typer.Option(min=0, help="At a time.")] = None,
    audio_minutes: Annotated[float | None, typer.Option(min=0, help="A day, heard.")] = None,
    characters: Annotated[int | None, typer.Option(min=0, help="A day, to be spoken.")] = None,
    voices: Annotated[int | None, typer.Option(min=0, help="Cloned ones at a time.")] = None,
) -> None:
    """Make a key and show it, once: only its digest is kept. Scopes are asr and tts by default."""
    now = _now()
    with _told():
        limits = KeyLimits(
            sessions=sessions,
            audio_minutes_per_day=audio_minutes,
            characters_per_day=characters,
            voices=voices,
        )
        key, record = new_key(
            name,
            scopes=scope or (Scope.ASR, Scope.TTS),
            owner=owner,
            limits=limits,
            expires_at=_moment(expires, now),
            now=now,
        )
        KeyStore(file).add(record)
    _show(key, record)


@app.command("list")
def list_keys(file: File) -> None:
    """Show the keys, without their secrets."""
    with _told():
        keys = KeyStore(file).read()
    table = Table("id", "name", "owner", "scopes", "limits", "state", box=box.SIMPLE)
    now = _now()
    for key in keys:
        until = f"until {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "good"
        limits = key.limits.model_dump(exclude_none=True)
        table.add_row(
            key.id,
            key.name,
            key.owner,
            " ".join(sorted(key.scopes)),
            "\n".join(f"{what} {amount:g}" for what, amount in limits.items()) or "none",
            key.trouble(now) or until,
        )
    Console().print(table)


_Limit = Annotated[str | None, typer.Option(metavar="N|none", help="As for create.")]


@app.command()
def change(
    key: Id,
    file: File,
    name: str | None = None,
    scope: Scopes = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 90d, 12h, a date, or never.")
    ] = None,
    sessions: _Limit = None,
    audio_minutes: _Limit = None,
    characters: _Limit = None,
    voices: _Limit = None,
) -> None:
    """Give a key other rights; what is not named stays, and so does the key itself.

    Its scopes become those that are named; a limit may be none. Running services notice within
    seconds: limits also for sessions that go on, scopes for new ones.
    """
    limits = {
        "sessions": sessions,
        "audio_minutes_per_day": audio_minutes,
        "characters_per_day": characters,
        "voices": voices,
    }
    named = {what: _amount(text) for what, text in limits.items() if text is not None}
    now = _now()
    with _told():
        fields: dict[str, object] = {} if name is None else {"name": name}
        if expires is not None:
            fields["expires_at"] = None if expires == "never" else _moment(expires, now)
        if not (named or fields or scope):
            raise CommandFailed("what is to change? See `voice keys change --help`")

        def alter(record: KeyRecord) -> KeyRecord:
            return changed_key(record, limits=named, scopes=scope or (), now=now, **fields)

        record = KeyStore(file).change(key, alter)
    _show_rights(record)


@app.command()
def revoke(key: Id, file: File) -> None:
    """End a key for good; running services notice within seconds."""
    with _told():
        KeyStore(file).revoke(key, _now())
    typer.echo(f"{key} is revoked, and its tokens with it", err=True)


@app.command()
def rotate(
    key: Id,
    file: File,
    keep: Annotated[
        str | None, typer.Option(help="How long the old one goes on: 24h, 7d. Default: not.")
    ] = None,
    expires: Expires = None,
) -> None:
    """Replace a key: the new one has its owner, scopes and limits. Shown once."""
    now = _now()
    with _told():
        span = None if keep is None else _span(keep)
        shown, record = KeyStore(file).rotate(key, now, span, _moment(expires, now))
    _show(shown, record)


@app.command("import")
def import_keys(
    plain: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="One key a line.")],
    file: File,
    scope: Scopes = None,
) -> None:
    """Take over a plain list (server.api_keys_file): the keys and their voices stay good.

    Scopes are all by default, as those keys had.
    """
    with _told():
        records = imported(plain.read_text(encoding="utf-8"), frozenset(scope or Scope))
        KeyStore(file).add(*records)
    typer.echo(f"{len(records)} keys; {plain} is not needed any more", err=True)


@app.command()
def secret(
    out: Annotated[Path, typer.Argument(help="As server.token_secret_file; must not exist.")],
) -> None:
    """Make the secret that tokens are signed with; all instances need the same one."""
    with _told():
        write_secret(out)


@contextmanager
def _told() -> Iterator[None]:
    with told():
        try:
            yield
        except KeyFileError as error:
            raise CommandFailed(str(error)) from None


def _show(key: str, record: KeyRecord) -> None:
    print(key)
    console = Console(stderr=True)
    console.print(f"id {record.id}, owner {record.owner}; shown this once", style="dim")


def _show_rights(record: KeyRecord) -> None:
    limits = record.limits.model_dump(exclude_none=True)
    told = ", ".join(f"{what} {amount:g}" for what, amount in limits.items()) or "no limits"
    typer.echo(f"{record.id} {record.name}: {' '.join(sorted(record.scopes))}; {told}", err=True)


def _amount(text: str) -> str | None:
    return None if text == "none" else text


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _moment(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    if _SPAN.fullmatch(text):
        return now + _span(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"{text!r} is no time; write 90d, 12h or 2027-01-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise CommandFailed(f"{text!r} is no span of time; write 90d or 12h")
    return timedelta(**{{"h": "hours", "d": "days"}[found[2]]: int(found[1])})
