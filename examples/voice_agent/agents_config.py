"""How a program that carries calls uses the agents of the store; imports little."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class AgentsConfig(BaseModel):
    """How calls get to the agents; all else of them is in their own file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: Path | None = None
    """Of `voice agent`, too. None: `$VOICE_AGENT_CONFIG`, or voice-agent.yaml here."""
    api: bool | Literal["health"] = True
    """Serve the management API, with the live calls, where the settings say; "health": only its
    `/health` and `/metrics`."""
    record: bool = False
    """Record calls that come with `consent=given`, as variables of their transport."""
    fallback: str | None = None
    """Where calls go whose agent breaks down, when neither the agent nor its route names anything.
    None: they go on where they came from, or end."""
