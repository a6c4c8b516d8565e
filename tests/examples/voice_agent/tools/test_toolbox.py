"""A tool may be wrong, slow or broken: the model gets a sentence, and the call goes on."""

import asyncio
import time
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from examples.voice_agent.ports import EndCall, ToolBox, ToolCall, ToolContext, ToolResult
from examples.voice_agent.tool_syntax import MALFORMED
from examples.voice_agent.tools.base import (
    ExternalPlugin,
    Parameters,
    PluginError,
    PluginResult,
    ToolSettings,
)
from examples.voice_agent.tools.toolbox import PluginToolBox
from examples.voice_agent.transport import CallInfo

CONTEXT = ToolContext(CallInfo("c", "+84901234567", "1900"), "en")


class WeatherParameters(Parameters):
    city: Annotated[str, Field(min_length=2, description="Where.")]
    day: Literal["today", "tomorrow"] = "today"
    hours: Annotated[int, Field(ge=1, le=48)] | None = None


class Weather(ExternalPlugin[WeatherParameters, ToolSettings]):
    name = "weather"
    description = "Tells the weather."
    parameters = WeatherParameters
    settings_type = ToolSettings
    read_only = True

    def __init__(self, *failures: Exception, delay_s: float = 0.0, **settings: Any) -> None:
        super().__init__(ToolSettings(**settings))
        self.failures = list(failures)
        self.delay_s = delay_s
        self.seen: list[WeatherParameters] = []
        self.closed = False

    async def execute(self, params: WeatherParameters, context: ToolContext) -> PluginResult:
        self.seen.append(params)
        await asyncio.sleep(self.delay_s)
        if self.failures:
            raise self.failures.pop(0)
        return {"city": params.city, "sky": "trời nắng"}

    async def aclose(self) -> None:
        self.closed = True
        raise RuntimeError("cannot be closed")


class Order(Weather):
    name = "order"
    read_only = False

    async def execute(self, params: WeatherParameters, context: ToolContext) -> PluginResult:
        await super().execute(params, context)
        return ToolResult("x" * 1000, action=EndCall("done"))


async def _run(tool: Weather, **arguments: Any) -> ToolResult:
    box: ToolBox = PluginToolBox([tool])
    return await box.run(ToolCall("1", tool.name, arguments), CONTEXT)


async def test_a_result_is_json_that_keeps_its_letters() -> None:
    tool = Weather()
    assert await _run(tool, city="Huế", hours=None) == ToolResult(
        '{"city": "Huế", "sky": "trời nắng"}'
    )
    assert tool.seen == [WeatherParameters(city="Huế")]


async def test_numbers_are_taken_for_text() -> None:
    tool = Weather()
    assert (await _run(tool, city=84901)).ok
    assert tool.seen[0].city == "84901"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "city is missing"),
        ({"city": "Huế", "town": 1}, "there is no parameter 'town'"),
        ({"city": "H"}, "city String should have at least 2 characters, not 'H'"),
        ({"city": "Huế", "day": "never"}, "day should be 'today' or 'tomorrow', not 'never'"),
        ({"city": "Huế", "hours": 99}, "hours should be less than or equal to 48, not 99"),
        ({MALFORMED: "{city"}, "could not be read"),
    ],
)
async def test_wrong_arguments_are_explained(arguments: dict[str, Any], said: str) -> None:
    tool = Weather()
    result = await _run(tool, **arguments)
    assert not result.ok and said in result.content and not tool.seen
    if MALFORMED not in arguments:
        assert result.content.endswith(
            "The parameters are: city, day (optional), hours (optional)."
        )


async def test_a_tool_that_there_is_not() -> None:
    box = PluginToolBox([Weather(), Order()])
    result = await box.run(ToolCall("1", "wether", {}), CONTEXT)
    assert result == ToolResult(
        "There is no tool 'wether'. The tools are: weather, order.", ok=False
    )


async def test_what_only_reads_is_repeated() -> None:
    away = PluginError("away", retryable=True)
    assert (await _run(tool := Weather(away), city="Huế")).ok
    assert len(tool.seen) == 2
    result = await _run(tool := Weather(away, away, away), city="Huế")
    assert result == ToolResult("away", ok=False)
    assert len(tool.seen) == 2
    await _run(tool := Weather(PluginError("wrong")), city="Huế")
    assert len(tool.seen) == 1


async def test_what_does_things_is_never_repeated() -> None:
    result = await _run(tool := Order(PluginError("away", retryable=True)), city="Huế")
    assert not result.ok and len(tool.seen) == 1


@pytest.mark.parametrize("kind", [Weather, Order])
async def test_nothing_takes_longer_than_it_may(kind: type[Weather]) -> None:
    began = time.monotonic()
    result = await _run(tool := kind(delay_s=5, timeout_s=0.1), city="Huế")
    assert time.monotonic() - began < 1 and len(tool.seen) == 1
    assert not result.ok and "longer than 0.1 s" in result.content
    assert ("effect is not known" in result.content) is (kind is Order)


async def test_repetitions_are_within_the_limit() -> None:
    away = [PluginError("away", retryable=True) for _ in range(9)]
    began = time.monotonic()
    assert not (await _run(Weather(*away, retries=5, timeout_s=0.3), city="Huế")).ok
    assert time.monotonic() - began < 1


async def test_a_broken_tool_tells_no_details() -> None:
    result = await _run(Weather(ValueError("password=1234")), city="Huế")
    assert not result.ok and "1234" not in result.content


async def test_cancelling_cancels() -> None:
    running = asyncio.create_task(_run(Weather(delay_s=5), city="Huế"))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_results_are_bounded_and_keep_their_action() -> None:
    result = await _run(Order(result_characters=100), city="Huế")
    assert len(result.content) == 100 and result.content.endswith("xx… (cut)")
    assert result.action == EndCall("done")


async def test_all_are_closed_whatever_one_does() -> None:
    tools = [Weather(), Order()]
    async with PluginToolBox(tools):
        pass
    assert all(tool.closed for tool in tools)


def test_what_the_model_is_told() -> None:
    assert Weather(description="Instead.").to_openai_tool() == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Instead.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "minLength": 2, "description": "Where."},
                    "day": {"type": "string", "enum": ["today", "tomorrow"], "default": "today"},
                    "hours": {"type": "integer", "minimum": 1, "maximum": 48},
                },
                "required": ["city"],
            },
        },
    }
    specs = PluginToolBox([Weather(), Order()]).specs
    assert [spec.side_effects for spec in specs] == [False, True]
