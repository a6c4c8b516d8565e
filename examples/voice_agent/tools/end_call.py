"""Hang up."""

from typing import Annotated

from pydantic import Field

from examples.voice_agent.ports import EndCall, ToolContext, ToolResult
from examples.voice_agent.tools.base import ExternalPlugin, Parameters, ToolSettings


class EndCallParameters(Parameters):
    reason: Annotated[
        str, Field(max_length=200, description="Why, in a few words, for the record.")
    ] = ""


class EndCallTool(ExternalPlugin[EndCallParameters, ToolSettings]):
    name = "end_call"
    description = (
        "Ends the phone call. Say goodbye first, in the same answer. Use it only when the caller "
        "has said goodbye or wants nothing more."
    )
    parameters = EndCallParameters
    settings_type = ToolSettings

    async def execute(self, params: EndCallParameters, context: ToolContext) -> ToolResult:
        return ToolResult(
            "The call ends as soon as the caller has heard the last word.",
            action=EndCall(params.reason),
        )
