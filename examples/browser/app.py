"""The page, and a WebSocket for each call from it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry, Gauge
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from examples.browser.transport import FORMAT, BrowserTransport
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.conversation import Conversation
from examples.voice_agent.endpoints import SpeechServices
from examples.voice_agent.llm import OpenAiLanguageModel
from examples.voice_agent.phrases import PhraseBook
from examples.voice_agent.ports import AgentTurn, CallerTurn, Entry
from examples.voice_agent.tools.discovery import make_toolbox
from examples.voice_agent.transport import CallInfo, TransportClosed
from examples.voice_agent.vitals import Vitals, observing

log = structlog.get_logger(__name__)

_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013
_TURNS = 100
"""Turns that may wait to be shown; what does not fit is not shown."""


@dataclass
class ShownJournal:
    """A journal that the page reads along: both sides' turns."""

    turns: "asyncio.Queue[CallerTurn | AgentTurn]" = field(
        default_factory=lambda: asyncio.Queue(_TURNS)
    )

    def write(self, entry: Entry) -> None:
        if isinstance(entry, CallerTurn | AgentTurn) and not self.turns.full():
            self.turns.put_nowait(entry)

    async def show(self, line: BrowserTransport) -> None:
        """Until cancelled, or the page is gone."""
        try:
            while True:
                turn = await self.turns.get()
                if isinstance(turn, CallerTurn):
                    await line.show(role="caller", text=turn.text)
                elif turn.spoken:
                    cut = turn.interrupted_at_ms is not None
                    await line.show(role="agent", text=turn.spoken, interrupted=cut)
        except TransportClosed:
            return


class Calls:
    """What all calls share."""

    def __init__(
        self,
        config: AgentConfig,
        services: SpeechServices,
        model: OpenAiLanguageModel,
        vitals: Vitals,
        max_calls: int,
    ) -> None:
        self._config = config
        self._services = services
        self._model = model
        self._vitals = vitals
        self._max_calls = max_calls
        self._phrases = PhraseBook(services.tts_url, services.tts_key)
        self._tools = make_toolbox(config.tools, config.tool_settings)
        self._live = 0
        live = Gauge("voice_calls", "Calls that go on", registry=vitals.registry)
        live.set_function(lambda: self._live)

    async def call(self, socket: WebSocket) -> None:
        """One call, from the WebSocket's beginning to its end."""
        await socket.accept()
        if not _same_site(socket):
            return await socket.close(_POLICY_VIOLATION, "calls come from this site's own page")
        if self._live >= self._max_calls:
            self._vitals.declined.labels("busy").inc()
            return await socket.close(_TRY_AGAIN_LATER, "all lines are busy")
        self._live += 1
        try:
            await self._talk(socket)
        finally:
            self._live -= 1

    async def _talk(self, socket: WebSocket) -> None:
        info = CallInfo(uuid.uuid4().hex[:12], "browser", self._config.name)
        dropping = self._vitals.dropping(FORMAT.bytes_per_s)
        line, shown = BrowserTransport(socket, info, dropping), ShownJournal()
        journal = self._vitals.observed(shown)
        talk = Conversation(
            self._config, line, self._services, self._phrases, self._model, self._tools, journal
        )
        reading = asyncio.create_task(line.run(), name="page-read")
        showing = asyncio.create_task(shown.show(line), name="page-show")
        try:
            outcome = await talk.run()
            log.info("call_ended", call=info.call_id, outcome=outcome)
        finally:
            for task in (reading, showing):
                task.cancel()
            await asyncio.gather(reading, showing, return_exceptions=True)


def _same_site(socket: WebSocket) -> bool:
    """A page of another site must not use this visitor's way in."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


def create_app(
    config: AgentConfig,
    services: SpeechServices,
    *,
    max_calls: int = 8,
    registry: CollectorRegistry | None = None,
) -> Starlette:
    """The page at `/`, calls at `/call`.

    Args:
        registry: for metrics of the calls.
    """
    page = str(files("examples.browser") / "static")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with OpenAiLanguageModel(config.llm) as model, observing(registry=registry) as vitals:
            app.state.calls = Calls(config, services, model, vitals, max_calls)
            yield

    async def call(socket: WebSocket) -> None:
        calls: Calls = socket.app.state.calls
        await calls.call(socket)

    routes = [WebSocketRoute("/call", call), Mount("/", StaticFiles(directory=page, html=True))]
    return Starlette(routes=routes, lifespan=lifespan)
