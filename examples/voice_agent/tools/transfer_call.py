"""Blind transfer to one of the destinations that the agent's settings name."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from examples.voice_agent.ports import ToolContext, ToolResult, TransferCall
from examples.voice_agent.tools.base import ExternalPlugin, Parameters, ToolSettings


class Destination(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+*#@.-]{1,80}$")]
    """An extension or a queue, as the transport's dial plan knows it."""
    description: Annotated[str, Field(max_length=200)] = ""
    """For the model: who is there, and what for."""


class TransferSettings(ToolSettings):
    destinations: Annotated[dict[str, Destination], Field(min_length=1, max_length=50)]
    """By the name that the model uses; nowhere else is ever transferred to."""

    @field_validator("destinations", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """`sales: "601"` is enough."""
        if not isinstance(value, dict):
            return value
        return {k: {"target": v} if isinstance(v, str) else v for k, v in value.items()}


class TransferParameters(Parameters):
    destination: str
    reason: str = ""


class TransferCallTool(ExternalPlugin[TransferParameters, TransferSettings]):
    name = "transfer_call"
    description = (
        "Transfers the caller to a person. Tell the caller so first, in the same answer; the "
        "transfer happens when your last word was heard, and then your part is over."
    )
    parameters = TransferParameters
    settings_type = TransferSettings

    def __init__(self, settings: TransferSettings, *, name: str | None = None) -> None:
        super().__init__(settings, name=name)
        self.parameters = _parameters(settings.destinations)

    async def execute(self, params: TransferParameters, context: ToolContext) -> ToolResult:
        target = self.settings.destinations[params.destination].target
        return ToolResult(
            f"The caller goes to {params.destination} as soon as the last word was heard.",
            action=TransferCall(target, params.reason),
        )


def _parameters(destinations: dict[str, Destination]) -> type[TransferParameters]:
    """The model can choose only from the names that there are."""
    told = [f"{n}: {d.description}" for n, d in destinations.items() if d.description]
    where = Field(description=f"Whom to transfer to. {'; '.join(told)}".strip())
    why = Field(default="", max_length=200, description="Why, in a few words, for the record.")
    names: Any = Literal[tuple(destinations)]
    return create_model(
        "TransferParameters",
        __base__=TransferParameters,
        destination=(names, where),
        reason=(str, why),
    )
