"""The tools of one agent, run within their limits."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import structlog

from examples.voice_agent.ports import ToolCall, ToolContext, ToolResult, ToolSpec
from examples.voice_agent.tool_syntax import MALFORMED
from examples.voice_agent.tools.base import ExternalPlugin, Parameters, PluginError, PluginResult
from examples.voice_agent.tools.schema import ArgumentsError, read_parameters

RETRY_PAUSE_S = 0.2
_CUT = "… (cut)"
_CLOSE_S = 5.0

log = structlog.get_logger(__name__)

AnyPlugin = ExternalPlugin[Any, Any]


class PluginToolBox:
    """A :class:`~examples.voice_agent.ports.ToolBox`; serves all calls of an agent at once."""

    def __init__(self, plugins: Iterable[AnyPlugin]) -> None:
        self._plugins = {plugin.name: plugin for plugin in plugins}
        self._specs = tuple(plugin.to_spec() for plugin in self._plugins.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all tools, whatever becomes of each."""
        for plugin in self._plugins.values():
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await plugin.aclose()
            except Exception:  # foreign code; the others shall be closed, too
                log.exception("tool_not_closed", tool=plugin.name)

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return self._specs

    def missing(self) -> list[str]:
        """What is still to be set up on this machine, by tool."""
        return [
            f"{plugin.name}: {sentence}"
            for plugin in self._plugins.values()
            for sentence in plugin.missing()
        ]

    async def run(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """See :meth:`~examples.voice_agent.ports.ToolBox.run`."""
        plugin = self._plugins.get(call.name)
        if plugin is None:
            names = ", ".join(self._plugins) or "none"
            return _failed(f"There is no tool {call.name[:60]!r}. The tools are: {names}.")
        if MALFORMED in call.arguments:
            return _failed(
                f"The call of {plugin.name} could not be read. Call it again, with the arguments "
                "as a complete JSON object."
            )
        try:
            params = read_parameters(plugin.parameters, call.arguments)
        except ArgumentsError as error:
            return _failed(str(error))
        return await _run(plugin, params, context)


async def _run(plugin: AnyPlugin, params: Parameters, context: ToolContext) -> ToolResult:
    bound = log.bind(tool=plugin.name, call=context.call.call_id)
    limit = plugin.settings.timeout_s
    try:
        async with asyncio.timeout(limit):
            result = await _repeated(plugin, params, context)
        return _bounded(_as_result(result), plugin.settings.result_characters)
    except TimeoutError:
        bound.warning("tool_timeout", limit_s=limit)
        did = "" if plugin.read_only else " Whether it had an effect is not known."
        return _failed(f"{plugin.name} took longer than {limit:g} s and was given up.{did}")
    except PluginError as error:
        bound.warning("tool_failed", reason=error.reason)
        return _failed(str(error))
    except Exception:  # noqa: BLE001 - foreign code; a call never ends because a tool is broken
        bound.exception("tool_broken")
        return _failed(f"{plugin.name} failed. Trying again does not help.")


async def _repeated(plugin: AnyPlugin, params: Parameters, context: ToolContext) -> PluginResult:
    retries = plugin.settings.retries if plugin.read_only else 0
    while True:
        try:
            result: PluginResult = await plugin.execute(params, context)
            return result
        except PluginError as error:
            if not error.retryable or retries == 0:
                raise
            log.info("tool_retry", tool=plugin.name, reason=error.reason)
        retries -= 1
        await asyncio.sleep(RETRY_PAUSE_S)


def _as_result(result: PluginResult) -> ToolResult:
    if isinstance(result, Mapping):
        return ToolResult(json.dumps(dict(result), ensure_ascii=False, default=str))
    return ToolResult(result) if isinstance(result, str) else result


def _bounded(result: ToolResult, limit: int) -> ToolResult:
    if len(result.content) <= limit:
        return result
    return replace(result, content=result.content[: limit - len(_CUT)] + _CUT)


def _failed(message: str) -> ToolResult:
    return ToolResult(message, ok=False)
