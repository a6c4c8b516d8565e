"""Tools that do something to the call only say so; the conversation does it after the last word."""

from typing import Any

import pytest

from examples.voice_agent.ports import (
    CallAction,
    EndCall,
    SendDigits,
    ToolCall,
    ToolContext,
    ToolResult,
    TransferCall,
)
from examples.voice_agent.tools.discovery import ToolConfigError, make_toolbox
from examples.voice_agent.transport import CallInfo

CONTEXT = ToolContext(CallInfo("c", "", ""), "en")
DESTINATIONS = {
    "sales": "601",
    "billing": {"target": "queue-2", "description": "invoices and payments"},
}


async def _run(name: str, **arguments: Any) -> ToolResult:
    settings = {"transfer_call": {"destinations": DESTINATIONS}}
    names = ["transfer_call", "end_call", "send_dtmf"]
    async with make_toolbox(names, settings) as box:
        assert all(spec.side_effects for spec in box.specs)
        return await box.run(ToolCall("1", name, arguments), CONTEXT)


@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("end_call", {"reason": "all done"}, EndCall("all done")),
        ("end_call", {}, EndCall("")),
        ("transfer_call", {"destination": "sales"}, TransferCall("601")),
        ("transfer_call", {"destination": "billing", "reason": "x"}, TransferCall("queue-2", "x")),
        ("send_dtmf", {"digits": "12*#"}, SendDigits("12*#")),
        ("send_dtmf", {"digits": 12}, SendDigits("12")),
    ],
)
async def test_actions(name: str, arguments: dict[str, Any], action: CallAction) -> None:
    result = await _run(name, **arguments)
    assert result.ok and result.action == action


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("transfer_call", {"destination": "601"}),
        ("transfer_call", {"destination": "+84900000000"}),
        ("transfer_call", {}),
        ("send_dtmf", {"digits": "12 3"}),
        ("send_dtmf", {"digits": "1" * 33}),
        ("send_dtmf", {"digits": "1\n"}),
        ("end_call", {"reason": "x" * 201}),
    ],
)
async def test_refused(name: str, arguments: dict[str, Any]) -> None:
    result = await _run(name, **arguments)
    assert not result.ok and result.action is None


async def test_the_model_is_told_whom_it_can_transfer_to() -> None:
    async with make_toolbox(
        ["transfer_call"], {"transfer_call": {"destinations": DESTINATIONS}}
    ) as box:
        [spec] = box.specs
    assert spec.parameters["properties"]["destination"] == {
        "type": "string",
        "enum": ["sales", "billing"],
        "description": "Whom to transfer to. billing: invoices and payments",
    }


@pytest.mark.parametrize("target", ["", "a b", "601&Dial(x)", "601,s,1", "$" + "{X}"])
def test_a_target_is_a_plain_extension(target: str) -> None:
    with pytest.raises(ToolConfigError):
        make_toolbox(["transfer_call"], {"transfer_call": {"destinations": {"x": target}}})
