"""Which tools there are: our own, and those that installed packages offer by entry points."""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ValidationError

from examples.voice_agent.tools.base import ExternalPlugin
from examples.voice_agent.tools.toolbox import AnyPlugin, PluginToolBox

GROUP = "voice_agent.tools"
PLUGIN_KEY = "plugin"
"""In a tool's settings: which plugin it is, when it is not the one of its own name."""

_HERE = "examples.voice_agent.tools"
_BUNDLED = {
    "customer_lookup": f"{_HERE}.customer_lookup:CustomerLookup",
    "transfer_call": f"{_HERE}.transfer_call:TransferCallTool",
    "end_call": f"{_HERE}.end_call:EndCallTool",
    "send_dtmf": f"{_HERE}.send_dtmf:SendDtmf",
}


class ToolConfigError(ValueError):
    """A tool is not there, or its settings are wrong; the sentence says which and why."""


def known_plugins() -> dict[str, EntryPoint]:
    """By name. Nobody can replace a tool of ours."""
    ours = {name: EntryPoint(name, value, GROUP) for name, value in _BUNDLED.items()}
    return {point.name: point for point in entry_points(group=GROUP)} | ours


def make_toolbox(
    names: Iterable[str], settings: Mapping[str, Mapping[str, Any]] | None = None
) -> PluginToolBox:
    """The tools of an agent; nothing is connected yet.

    Args:
        names: `AgentConfig.tools`.
        settings: `AgentConfig.tool_settings`.

    Raises:
        ToolConfigError
    """
    names, settings = list(names), settings or {}
    if unknown := sorted(set(settings) - set(names)):
        raise ToolConfigError(
            f"There are settings of tools that the agent does not use: {unknown}."
        )
    points = known_plugins()
    return PluginToolBox([make_plugin(name, settings.get(name, {}), points) for name in names])


def make_plugin(
    name: str, settings: Mapping[str, Any], points: Mapping[str, EntryPoint]
) -> AnyPlugin:
    """
    Raises:
        ToolConfigError
    """
    kind = str(settings.get(PLUGIN_KEY, name))
    if kind not in points:
        known = ", ".join(sorted(points))
        raise ToolConfigError(f"There is no tool {kind!r}. The tools are: {known}.")
    plugin = _load(points[kind])
    own = {key: value for key, value in settings.items() if key != PLUGIN_KEY}
    try:
        return plugin(plugin.settings_type.model_validate(own), name=name)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'it'}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        )
        raise ToolConfigError(f"The settings of {name!r} are wrong: {wrong}.") from None
    except ValueError as error:
        raise ToolConfigError(f"The settings of {name!r} are wrong: {error}.") from None


def _load(point: EntryPoint) -> type[AnyPlugin]:
    try:
        plugin = point.load()
    except Exception as error:
        raise ToolConfigError(
            f"The tool {point.name!r} ({point.value}) cannot be loaded: {error}"
        ) from error
    if not (isinstance(plugin, type) and issubclass(plugin, ExternalPlugin)):
        raise ToolConfigError(f"The tool {point.name!r} ({point.value}) is no ExternalPlugin.")
    return plugin
