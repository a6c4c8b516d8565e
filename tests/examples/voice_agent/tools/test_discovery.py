"""Tools by name: our own, and those of packages that are really installed somewhere."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.voice_agent.ports import ToolCall, ToolContext, ToolResult
from examples.voice_agent.tools.discovery import ToolConfigError, known_plugins, make_toolbox
from examples.voice_agent.transport import CallInfo

CODE = """
from examples.voice_agent.tools.base import ExternalPlugin, Parameters, ToolSettings

class HoursSettings(ToolSettings):
    opens: int

class Hours(ExternalPlugin[Parameters, HoursSettings]):
    name = "opening_hours"
    description = "When we are open."
    parameters = Parameters
    settings_type = HoursSettings
    read_only = True

    async def execute(self, params, context):
        return f"from {self.settings.opens}"

NotATool = 3
"""
POINTS = """[voice_agent.tools]
opening_hours = test_discovered_hours:Hours
not_a_tool = test_discovered_hours:NotATool
broken = test_discovered_hours:Missing
end_call = test_discovered_hours:Hours
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "test_discovered_hours.py").write_text(CODE)
    info = tmp_path / "test_discovered_hours-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: test_discovered_hours\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("test_discovered_hours", None)


@pytest.mark.usefixtures("package")
async def test_a_tool_of_another_package_with_its_settings() -> None:
    settings: dict[str, dict[str, object]] = {
        "opening_hours": {"opens": 8},
        "shop": {"plugin": "opening_hours", "opens": 9},
    }
    async with make_toolbox(["opening_hours", "shop"], settings) as box:
        context = ToolContext(CallInfo("c", "", ""), "en")
        assert [spec.name for spec in box.specs] == ["opening_hours", "shop"]
        result = await box.run(ToolCall("1", "shop", {}), context)
    assert result == ToolResult("from 9")


@pytest.mark.usefixtures("package")
def test_nobody_replaces_a_tool_of_ours() -> None:
    assert known_plugins()["end_call"].value.startswith("examples.voice_agent.tools.")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        (["opening_hour"], {}, "The tools are: broken, customer_lookup, end_call, not_a_tool"),
        (["opening_hours"], {}, "settings of 'opening_hours' are wrong: opens: Field required"),
        (["end_call"], {"end_call": {"timeout_s": -1}}, "timeout_s: Input should be greater"),
        (["end_call"], {"send_dtmf": {}}, "does not use: ['send_dtmf']"),
        (["not_a_tool"], {}, "is no ExternalPlugin"),
        (["broken"], {}, "cannot be loaded"),
        (["x"], {"x": {"plugin": "os:system"}}, "There is no tool 'os:system'"),
        (
            ["customer_lookup"],
            {"customer_lookup": {"region": "VN", "caller_only": True, "crm":
                {"backend": "zoho", "by_phone": False}}},
            "caller_only needs",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    names: list[str], settings: dict[str, dict[str, object]], said: str
) -> None:
    with pytest.raises(ToolConfigError) as caught:
        make_toolbox(names, settings)
    assert said in str(caught.value)


def test_secrets_never_appear_in_what_is_said() -> None:
    with pytest.raises(ToolConfigError) as caught:
        make_toolbox(["end_call"], {"end_call": {"password": "hunter2"}})
    assert "password" in str(caught.value) and "hunter2" not in str(caught.value)
