"""Agents ready to take calls: their language model, tools and sentences, shared by their calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.llm import OpenAiLanguageModel
from examples.voice_agent.phrases import PhraseBook
from examples.voice_agent.store.agents import Agents, AgentVersion
from examples.voice_agent.store.database import DATABASE_ERRORS
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.tools.discovery import ToolConfigError, make_toolbox
from examples.voice_agent.tools.toolbox import PluginToolBox
from services.client.connection import ServiceError
from services.shared.audio.pcm import AudioFormat

log = structlog.get_logger(__name__)

_LOOK_S = 3.0
"""Between two looks for versions whose sentences are not rendered yet."""
_MOST_IDLE = 50
"""Versions without calls that are kept; beyond that they are closed."""


@dataclass(slots=True, eq=False)
class Colleague:
    """One version of an agent, at work."""

    config: AgentConfig
    model: OpenAiLanguageModel
    tools: PluginToolBox
    calls: int = 0

    async def aclose(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.model.aclose)
            stack.push_async_callback(self.tools.aclose)


class Staff:
    """One for each process. Use it as a context manager; owns the task that renders sentences."""

    def __init__(self, agents: Agents, phrases: PhraseBook, audio: AudioFormat) -> None:
        self._agents = agents
        self._phrases = phrases
        self._audio = audio
        self._colleagues: dict[int, Colleague] = {}
        self._rendered: set[int] = set()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._prepare_forever(), name="staff")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for colleague in self._colleagues.values():
            await colleague.aclose()

    @asynccontextmanager
    async def working(self, version: AgentVersion) -> AsyncIterator[Colleague]:
        """Of this version, as long as a call lasts.

        Raises:
            ToolConfigError: its tools cannot be made.
        """
        colleague = await self._colleague(version)
        colleague.calls += 1
        try:
            yield colleague
        finally:
            colleague.calls -= 1
            await self._close_idle()

    async def _colleague(self, version: AgentVersion) -> Colleague:
        async with self._lock:
            colleague = self._colleagues.pop(version.id, None)
            if colleague is None:  # certificates and plug-ins are read from disk
                colleague = await asyncio.to_thread(_hire, version.config)
            self._colleagues[version.id] = colleague  # last, as the latest that was asked for
            return colleague

    async def _close_idle(self) -> None:
        idle = [id for id, each in self._colleagues.items() if each.calls == 0]
        for id in idle[:-_MOST_IDLE]:
            await self._colleagues.pop(id).aclose()

    # Sentences, before they are needed.

    async def _prepare_forever(self) -> None:
        while True:
            try:
                versions = await self._agents.newest()
                for version in versions:
                    if version.id not in self._rendered:
                        await self._prepare(version)
            except (StoreError, ServiceError, *DATABASE_ERRORS) as error:
                log.debug("sentences wait", error=str(error))
            await asyncio.sleep(_LOOK_S)

    async def _prepare(self, version: AgentVersion) -> None:
        texts = version.config.language_pack().sentences.values()
        try:
            await self._colleague(version)
            await self._phrases.render(version.config, self._audio, texts)
            log.info("agent_ready", agent=version.agent, version=version.version)
        except ToolConfigError as error:
            log.error("agent_has_no_tools", agent=version.agent, error=str(error))
        except ServiceError as error:
            if error.retryable:
                raise
            log.error("agent_cannot_speak", agent=version.agent, error=str(error))
        self._rendered.add(version.id)


def _hire(config: AgentConfig) -> Colleague:
    """Raises ToolConfigError."""
    try:
        tools = make_toolbox(config.tools, config.tool_settings)
    except ToolConfigError as error:
        raise ToolConfigError(f"agent {config.name}: {error}") from None
    for sentence in tools.missing():
        log.warning("tool_not_set_up", agent=config.name, missing=sentence)
    return Colleague(config, OpenAiLanguageModel(config.llm), tools)
