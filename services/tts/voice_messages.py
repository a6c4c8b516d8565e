"""What is sent and told over `/v1/voices`."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from services.shared.protocol.base import Message

VoiceName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\S.*$")]


class VoiceInfo(Message):
    """A voice in the list."""

    id: str
    name: str
    language: str
    sample_rate: int
    engine: str
    licence: str
    sample: str | None = None
    default: bool
    cloned: bool


class VoiceList(Message):
    voices: tuple[VoiceInfo, ...]


class ConsentInfo(Message):
    """What was stated when the voice was made."""

    statement: str
    at: datetime
    key_id: str
    reference_sha256: str


class VoiceDetail(VoiceInfo):
    """One voice; what follows is there for cloned ones."""

    created_at: datetime | None = None
    speech_s: float | None = None
    snr_db: float | None = None
    consent: ConsentInfo | None = None


class VoiceForm(Message):
    """The text fields of the form."""

    name: VoiceName
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
    consent: Annotated[str, Field(min_length=10, max_length=2000)]
    """Who consented, and how."""
    engine: Annotated[str, Field(max_length=100)] | None = None


class VoiceChange(Message):
    name: VoiceName
