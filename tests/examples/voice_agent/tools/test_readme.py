"""The documentation's examples are real."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import examples.voice_agent.tools
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.ports import ToolCall, ToolContext
from examples.voice_agent.tools.discovery import known_plugins, make_toolbox
from examples.voice_agent.tools.toolbox import PluginToolBox
from examples.voice_agent.transport import CallInfo

README = (Path(examples.voice_agent.tools.__path__[0]) / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("text", _blocks("yaml"))
async def test_configurations(text: str) -> None:
    agent = AgentConfig(name="x", prompt="x", **yaml.safe_load(text))
    async with make_toolbox(agent.tools, agent.tool_settings) as box:
        assert [spec.name for spec in box.specs] == list(agent.tools)
        assert box.missing() or "http" in text


async def test_a_tool_of_ones_own() -> None:
    [code] = _blocks("python")
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    context = ToolContext(CallInfo("c", "", ""), "en")
    async with PluginToolBox([names["Stock"](names["ToolSettings"]())]) as box:
        assert (await box.run(ToolCall("1", "stock", {"article": "x"}), context)).ok
        assert not (await box.run(ToolCall("2", "stock", {"article": "unicorn"}), context)).ok


def test_all_bundled_tools_are_in_the_table() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == set(known_plugins())
