"""API keys as they are kept: who may do what, until when and how much; nothing that opens a door.

A key is `vk_ID_SECRET`, and the secret is 256 random bits. Only the SHA-256 of the key is kept.
Slow hashes (Argon2, bcrypt) are made for what people choose: they make guessing dear. Nobody
guesses 256 random bits, and here a slow one would only let strangers keep the service busy with
wrong keys.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.shared.protocol.codec import describe

PREFIX = "vk_"
_SECRET_BYTES = 32
MIN_IMPORTED = 24
"""Characters of a key made elsewhere: a shorter one could be found from its SHA-256."""
MAX_KEYS = 2000
"""All are compared with each key that is offered, which takes a fifth of a microsecond each."""


class Scope(StrEnum):
    """What a key may be good for."""

    ASR = "asr"
    """Recognise: streams and files."""
    TTS = "tts"
    """Speak; list voices and the lexicon."""
    VOICES = "voices"
    """Make, rename and delete cloned voices."""
    LEXICON = "lexicon"
    """Change the lexicon that everybody is read with."""
    TOKENS = "tokens"
    """Make short-lived tokens for browsers."""
    METRICS = "metrics"
    """Read `/metrics` where that is not open."""


ALL_SCOPES = frozenset(Scope)
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same in C, which keeps the event loop from running for a tenth of the time."""

Count = Annotated[int, Field(ge=0, le=10**9)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class KeyFileError(Exception):
    """The keys cannot be read, or not be changed like this; the sentence says why."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyLimits(_Kept):
    """How much; what is left out has no limit of its own. Days are those of UTC."""

    sessions: Count | None = None
    """Sessions and requests at a time, on each instance."""
    audio_minutes_per_day: Annotated[float, Field(ge=0, le=10**9)] | None = None
    """Of audio heard."""
    characters_per_day: Count | None = None
    """Of text to be spoken."""
    voices: Count | None = None
    """Cloned voices that exist at a time."""


class KeyRecord(_Kept):
    """One key, without its secret."""

    id: Id
    name: Name
    """For people: whose key it is, what it is for."""
    owner: Id
    """Whom cloned voices belong to. Keys of one owner share them, so a key can be replaced."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: frozenset[Scope]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    limits: KeyLimits = KeyLimits()

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.sha256)

    def trouble(self, now: datetime) -> str | None:
        """Why the key opens nothing at this time; None: it does."""
        if self.revoked_at is not None:
            return "was revoked"
        if self.expires_at is not None and now >= self.expires_at:
            return f"expired at {self.expires_at.isoformat(timespec='seconds')}"
        return None


class KeyFile(_Kept):
    """All keys of a file."""

    version: Literal[1] = 1
    keys: Annotated[tuple[KeyRecord, ...], Field(max_length=MAX_KEYS)] = ()

    @model_validator(mode="after")
    def _each_once(self) -> "KeyFile":
        for what in ("id", "sha256"):
            counted = Counter(getattr(key, what) for key in self.keys)
            if len(counted) < len(self.keys):
                raise ValueError(f"{what} {counted.most_common(1)[0][0]} stands there twice")
        return self


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def owner_of_digest(digest: bytes) -> str:
    """Whose things are these, for a key that no file gives an owner: a digest of its digest, which
    stands for the key and cannot be used as one."""
    return hashlib.sha256(b"owner:" + digest).hexdigest()[:32]


def plain_record(key: str) -> KeyRecord:
    """What a key of a plain list may do: everything, without limits."""
    digest = digest_of(key)
    owner = owner_of_digest(digest)
    return KeyRecord(
        id=owner,
        name="a key of the plain list",
        owner=owner,
        sha256=digest.hex(),
        scopes=ALL_SCOPES,
        created_at=datetime.fromtimestamp(0, UTC),
    )


def new_key(
    name: str,
    *,
    scopes: Iterable[Scope],
    owner: str | None = None,
    limits: KeyLimits | None = None,
    expires_at: datetime | None = None,
    now: datetime,
) -> tuple[str, KeyRecord]:
    """A new key, to be shown once, and what is kept of it.

    Args:
        owner: None: nobody else's, named by the key's id.

    Raises:
        KeyFileError: a name or owner that cannot be one, or nothing that the key is good for.
    """
    key_id = secrets.token_hex(6)
    key = f"{PREFIX}{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    wanted = frozenset(scopes)
    if not wanted:
        raise KeyFileError(f"a key needs a scope: {', '.join(Scope)}")
    if expires_at is not None and expires_at <= now:
        raise KeyFileError("a key cannot expire before it exists")
    try:
        return key, KeyRecord(
            id=key_id,
            name=name,
            owner=owner or key_id,
            sha256=digest_of(key).hex(),
            scopes=wanted,
            created_at=now,
            expires_at=expires_at,
            limits=limits or KeyLimits(),
        )
    except ValidationError as error:
        raise KeyFileError(describe(error)) from None


def changed_key(
    record: KeyRecord,
    *,
    limits: Mapping[str, object],
    scopes: Iterable[Scope] = (),
    now: datetime,
    **fields: object,
) -> KeyRecord:
    """The same key, for the same holder, with other rights.

    Args:
        limits: those that become others; None as a value: no limit.
        scopes: all that it is to have; none: as they are.
        fields: others, e.g. `name`, `expires_at`.

    Raises:
        KeyFileError: it was revoked, which is for good, or the values are none.
    """
    if record.revoked_at is not None:
        raise KeyFileError(f"key {record.id} was revoked; create a new one, with its owner")
    kept = {**record.model_dump(exclude={"limits"}), **fields}
    kept["scopes"] = frozenset(scopes) or record.scopes
    amounts = {**record.limits.model_dump(), **limits}
    try:
        changed = KeyRecord(limits=KeyLimits.model_validate(amounts), **kept)
    except ValidationError as error:
        raise KeyFileError(describe(error)) from None
    if changed.expires_at != record.expires_at and changed.trouble(now) is not None:
        raise KeyFileError("that time is past; `voice keys revoke` ends a key at once")
    return changed


def parse_key_file(text: str) -> KeyFile:
    """Raises KeyFileError, which quotes nothing: who knows what file this is?"""
    try:
        content = yaml.load(text, Loader=_SafeLoader) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise KeyFileError(f"no YAML from line {line} on") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise KeyFileError("no YAML") from None
    if not isinstance(content, dict) or not content.keys() <= {"version", "keys"}:
        raise KeyFileError(
            "not made by `voice keys`; a plain list of keys is for server.api_keys_file, "
            "and `voice keys import` takes it over"
        )
    try:
        return KeyFile.model_validate(content)
    except ValidationError as error:
        raise KeyFileError(describe(error)) from None


def write_key_file(file: KeyFile) -> str:
    content = file.model_dump(mode="json", exclude_none=True)
    for key in content["keys"]:
        key["scopes"].sort()
        if not key["limits"]:
            del key["limits"]
    return (
        "# API keys, without their secrets. Made by `voice keys`; limits may be edited here.\n"
        "# Running services notice a change within seconds.\n"
        + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    )
