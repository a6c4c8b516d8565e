"""Press keys, for menus and doors at the other end."""

from typing import Annotated

from pydantic import Field

from examples.voice_agent.ports import SendDigits, ToolContext, ToolResult
from examples.voice_agent.tools.base import ExternalPlugin, Parameters, ToolSettings


class SendDtmfParameters(Parameters):
    digits: Annotated[
        str,
        Field(
            pattern=r"^[0-9A-D*#]{1,32}$",
            description="The keys in their order: 0-9, A-D, * and #, without spaces.",
        ),
    ]


class SendDtmf(ExternalPlugin[SendDtmfParameters, ToolSettings]):
    name = "send_dtmf"
    description = "Presses keys of the phone (DTMF), e.g. to get through a menu at the other end."
    parameters = SendDtmfParameters
    settings_type = ToolSettings

    async def execute(self, params: SendDtmfParameters, context: ToolContext) -> ToolResult:
        return ToolResult(
            f"The keys {params.digits} are being pressed.", action=SendDigits(params.digits)
        )
