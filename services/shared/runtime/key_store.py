"""Changing a keys file: one writer at a time; readers see the old file or the new one."""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from services.shared.protocol.codec import describe
from services.shared.runtime.keys import (
    MIN_IMPORTED,
    KeyFile,
    KeyFileError,
    KeyRecord,
    Scope,
    new_key,
    parse_key_file,
    plain_record,
    write_key_file,
)
from services.shared.runtime.only_writer import only_writer

_SECRET_BYTES = 48


class KeyStore:
    """A keys file. Methods block; they raise KeyFileError, or OSError of the file system."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> tuple[KeyRecord, ...]:
        if not self._file.exists():
            raise KeyFileError(f"{self._file} does not exist; `voice keys create` makes it")
        try:
            return parse_key_file(self._file.read_text(encoding="utf-8")).keys
        except UnicodeDecodeError:
            raise KeyFileError(f"{self._file} is no text") from None

    def add(self, *records: KeyRecord) -> None:
        """Append keys; makes the file."""
        with only_writer(self._file.parent):
            known = self.read() if self._file.exists() else ()
            ids = {key.id for key in known}
            for record in records:
                if record.id in ids:
                    raise KeyFileError(f"key {record.id} is there already")
            self._write(*known, *records)

    def revoke(self, key_id: str, now: datetime) -> KeyRecord:
        """For good: the key stays in the file, so that it is known what it was."""
        with only_writer(self._file.parent):
            revoked = self._one(key_id).model_copy(update={"revoked_at": now})
            self._replace(revoked)
        return revoked

    def change(self, key_id: str, alter: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        """Put what `alter` makes of a key in its place; what it raises is raised."""
        with only_writer(self._file.parent):
            changed = alter(self._one(key_id))
            self._replace(changed)
        return changed

    def rotate(
        self, key_id: str, now: datetime, keep: timedelta | None, expires_at: datetime | None
    ) -> tuple[str, KeyRecord]:
        """A new key in an old one's place: of the same owner, with the same scopes and limits.

        Args:
            keep: how long the old one goes on; None: it is revoked.
        """
        with only_writer(self._file.parent):
            old = self._one(key_id)
            if (trouble := old.trouble(now)) is not None:
                raise KeyFileError(f"key {key_id} {trouble}; create a new one, with its owner")
            key, record = new_key(
                old.name,
                scopes=old.scopes,
                owner=old.owner,
                limits=old.limits,
                expires_at=expires_at,
                now=now,
            )
            end = {"revoked_at": now} if keep is None else {"expires_at": now + keep}
            self._replace(old.model_copy(update=end), record)
        return key, record

    def _one(self, key_id: str) -> KeyRecord:
        for key in self.read():
            if key.id == key_id:
                return key
        raise KeyFileError(f"there is no key {key_id!r:.80} in {self._file}")

    def _replace(self, changed: KeyRecord, *more: KeyRecord) -> None:
        keys = (changed if key.id == changed.id else key for key in self.read())
        self._write(*keys, *more)

    def _write(self, *keys: KeyRecord) -> None:
        try:
            text = write_key_file(KeyFile(keys=keys))
        except ValidationError as error:
            raise KeyFileError(describe(error)) from None
        parse_key_file(text)
        before = self._file.stat() if self._file.exists() else None
        _write_whole(self._file, text, before)


def imported(text: str, scopes: frozenset[Scope]) -> list[KeyRecord]:
    """The keys of a plain list, with the owners that they had: their voices stay theirs.

    Raises:
        KeyFileError: no key, or one that could be guessed from its digest.
    """
    records: list[KeyRecord] = []
    for number, line in enumerate(text.splitlines(), 1):
        key, _, comment = line.partition("#")
        if not (key := key.strip()):
            continue
        if len(key) < MIN_IMPORTED:
            raise KeyFileError(
                f"the key in line {number} has less than {MIN_IMPORTED} characters: "
                "it could be found from its digest; replace it by a new one"
            )
        update = {"name": comment.strip()[:100] or f"line {number}", "scopes": scopes}
        records.append(plain_record(key).model_copy(update=update))
    if not records:
        raise KeyFileError("there is no key in it")
    return records


def write_secret(file: Path) -> None:
    """Make a secret for tokens, for its owner's eyes only. Raises FileExistsError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(secrets.token_urlsafe(_SECRET_BYTES) + "\n")


def _write_whole(file: Path, text: str, before: os.stat_result | None) -> None:
    """Replace a file by one that the same people can read: services are often another user's."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            if before is not None:
                with contextlib.suppress(PermissionError):  # only root gives files away
                    os.fchown(out.fileno(), before.st_uid, before.st_gid)
            # It holds no secret.
            os.fchmod(out.fileno(), 0o644 if before is None else before.st_mode & 0o777)
            os.fsync(out.fileno())
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
