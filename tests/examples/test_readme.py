"""What the overview shows is there."""

import re
from pathlib import Path

import yaml
from typer.main import get_command

from examples.asterisk_bridge.giving_back import Outcome
from examples.voice_agent.agents_config import AgentsConfig
from examples.voice_agent.cli.main import app
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.settings import AgentSettings
from examples.voice_agent.tools.discovery import make_toolbox

FOLDER = Path(__file__).parents[2] / "examples"
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", TEXT)]
    assert len(links) > 5
    assert [link for link in links if not (FOLDER / link).exists()] == []


def test_the_agent_is_one_and_its_tools_exist() -> None:
    agent = AgentConfig.model_validate(yaml.safe_load((FOLDER / "agent.yaml").read_text()))
    specs = make_toolbox(agent.tools, agent.tool_settings).specs
    assert [spec.name for spec in specs] == ["transfer_call", "end_call"]


def test_its_commands_exist() -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    told = re.findall(r"uv run voice agent (\w+)", TEXT)
    assert len(told) >= 4 and set(told) <= commands


def test_its_settings_and_outcomes_exist() -> None:
    assert {name.lower() for name in re.findall(r"BRIDGE__AGENTS__(\w+)", TEXT)} == {"record"}
    assert {"record", "fallback"} <= set(AgentsConfig.model_fields)
    keys = {name.lower() for name in re.findall(r"VOICE_AGENT__(\w+?_KEY)", TEXT)}
    assert keys == {"asr_key", "tts_key"} <= set(AgentSettings.model_fields)
    assert {"declined", "busy", "drained"} <= set(Outcome)
