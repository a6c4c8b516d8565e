"""Where things are kept, and how much may wait for it."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=3600)]
Price = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=9)]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenPrice(Strict):
    """Of a million tokens."""

    prompt: Price = Decimal(0)
    cached: Price = Decimal(0)
    completion: Price = Decimal(0)


class Prices(Strict):
    """What things cost, in one currency of your choice. Costs are kept as they were computed."""

    currency: Annotated[str, Field(min_length=1, max_length=8)] = "USD"
    asr_minute: Price = Decimal(0)
    tts_million_characters: Price = Decimal(0)
    models: dict[str, TokenPrice] = Field(default_factory=dict)
    """By the name of the language model; `default` stands for all that are not named."""


class JournalConfig(Strict):
    """Between the calls, which never wait, and the database, which may be away."""

    queue: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    """Entries of all calls that may wait in memory. Then events are lost, and counted."""
    batch: Annotated[int, Field(ge=1, le=5000)] = 200
    linger_s: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Entries are collected for this long, so that many share a transaction."""
    write_s: Seconds = 10.0
    """A database that takes longer for a batch counts as away."""
    retry_s: Seconds = 2.0
    """Between two attempts to reach a database that is away."""
    close_s: Seconds = 15.0
    """For what still waits when the process ends; the rest goes to the spool."""
    spool: Path = Path("voice-agent/spool")
    spool_bytes: Annotated[int, Field(ge=0)] = 256 * 1024 * 1024
    """0: nothing is spooled, and what a database that is away does not take is lost."""


class RecordingConfig(Strict):
    """Stereo recordings: the caller on the left, the agent on the right."""

    folder: Path = Path("voice-agent/recordings")
    format: Literal["wav", "flac"] = "wav"
    """flac is half as large, and made when the call is over."""
    max_s: Annotated[float, Field(gt=0, le=86_400)] = 7200.0
    buffer_s: Annotated[float, Field(gt=0, le=600)] = 20.0
    """Audio that may wait for a slow disk before the recording ends."""


class StoreConfig(Strict):
    """The store."""

    url: str = "sqlite:///voice-agent/agent.db"
    """`sqlite:///file` or `postgresql://user@host/database`. A password does not belong in here
    but in `$PGPASSWORD`, or in a file that `$PGPASSFILE` names."""
    pool: Annotated[int, Field(ge=1, le=100)] = 5
    """Connections to PostgreSQL."""
    busy_s: Seconds = 5.0
    """SQLite: how long a writer waits for another one."""
    connect_s: Seconds = 5.0
    migrate: bool = True
    """Bring the database up to date when the program starts."""
    journal: JournalConfig = JournalConfig()
    recording: RecordingConfig = RecordingConfig()
    prices: Prices = Prices()
