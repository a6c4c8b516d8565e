"""What is written down about a cloned voice: whose it is, who consented, when it was deleted."""

import re
import uuid
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

PREFIX = "cv_"
_ID = re.compile(rf"{PREFIX}[0-9a-f]{{32}}")


def new_id() -> str:
    """An id that nobody can guess and that is safe in paths and URLs."""
    return PREFIX + uuid.uuid4().hex


def is_cloned_id(text: str) -> bool:
    """Whether a client's text can be the id of a cloned voice; nothing else reaches the store."""
    return _ID.fullmatch(text) is not None


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Record(BaseModel):
    """Base of what is stored. A newer version's fields are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Consent(Record):
    """The speaker's consent, as the caller stated it."""

    statement: str
    """Who consented, and how."""
    at: datetime
    key_id: str
    """Stands for the API key with which it was stated."""
    reference_sha256: str
    """Of the file as it was uploaded."""


class ClonedVoice(Record):
    """A voice made from reference audio."""

    format: Literal[1] = 1
    id: str
    name: str
    """Only data: it is never part of a path."""
    language: str
    """BCP 47 tag."""
    engine: str
    owner: str
    """The owner that its API key names, or a digest that stands for a key that names none."""
    created_at: datetime
    speech_s: float
    """Of speech in the reference."""
    snr_db: float
    """How far it stands above the noise of the reference."""
    consent: Consent


class Deletion(Record):
    """What is kept of a deleted voice: no audio, nothing that sounds like it."""

    format: Literal[1] = 1
    id: str
    owner: str
    created_at: datetime
    deleted_at: datetime
    consent: Consent
