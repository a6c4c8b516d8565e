"""Calls for the agents of the store: everything they share is opened once for the process."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog

from examples.voice_agent.agents_config import AgentsConfig
from examples.voice_agent.api.app import create_app, serving
from examples.voice_agent.config import AgentConfig, FallbackConfig
from examples.voice_agent.conversation import Conversation
from examples.voice_agent.endpoints import SpeechServices
from examples.voice_agent.phrases import PhraseBook
from examples.voice_agent.ports import CallBegan, CallEnded, Journal, Outcome
from examples.voice_agent.readiness import Readiness
from examples.voice_agent.settings import AgentSettings, load_settings
from examples.voice_agent.staff import Colleague, Staff
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.recording import CallRecording, Consent
from examples.voice_agent.store.records import CallContext
from examples.voice_agent.store.routing import Assignment
from examples.voice_agent.store.store import Store, open_store
from examples.voice_agent.transport import CallDeclined, CallInfo, CallTransport
from examples.voice_agent.vitals import Vitals, observing
from services.shared.audio.pcm import AudioFormat

log = structlog.get_logger(__name__)


@asynccontextmanager
async def agent_calls(
    config: AgentsConfig, audio: AudioFormat, vitals: Vitals | None = None
) -> AsyncIterator["AgentCalls"]:
    """Gives the conversation for each call. Leave it after the last call is over.

    Args:
        audio: of the calls.
        vitals: what the process tells of itself, which the API shows; None: of its calls only.

    Raises:
        StoreError: the agents' settings cannot be used.
    """
    async with AsyncExitStack() as stack:
        settings = await asyncio.to_thread(load_settings, config.settings)
        vitals = await stack.enter_async_context(observing(vitals))
        yield await _opened(stack, config, audio, settings, vitals)


async def _opened(
    stack: AsyncExitStack,
    config: AgentsConfig,
    audio: AudioFormat,
    settings: AgentSettings,
    vitals: Vitals,
) -> "AgentCalls":
    opened = open_store(settings.store, instance=settings.instance, registry=vitals.registry)
    store = await stack.enter_async_context(opened)
    services = settings.services()
    phrases = PhraseBook(services.tts_url, services.tts_key)
    staff = await stack.enter_async_context(Staff(store.agents, phrases, audio))
    if config.api:
        only_health = config.api == "health"
        app = await asyncio.to_thread(
            create_app, store, settings.api, vitals=vitals, only_health=only_health
        )
        try:
            url = await stack.enter_async_context(serving(app, settings.api))
        except OSError as error:
            raise StoreError(
                f"the API cannot listen at port {settings.api.port}: {error}"
            ) from None
        log.info("api_listens", url=f"{url}/health/ready" if only_health else f"{url}/docs")
    asked = {"asr": settings.asr_url, "tts": settings.tts_url}
    readiness = await stack.enter_async_context(Readiness(asked))
    return AgentCalls(config, settings.instance, store, staff, services, phrases, readiness, vitals)


class AgentCalls:
    """Talks to whoever calls. Made by :func:`agent_calls`."""

    def __init__(
        self,
        config: AgentsConfig,
        instance: str,
        store: Store,
        staff: Staff,
        services: SpeechServices,
        phrases: PhraseBook,
        readiness: Readiness,
        vitals: Vitals,
    ) -> None:
        self._config = config
        self._instance = instance
        self._store = store
        self._staff = staff
        self._services = services
        self._phrases = phrases
        self._readiness = readiness
        self._vitals = vitals

    def refused(self, info: CallInfo, reason: str, *, failed: bool = False) -> None:
        """A call that did not even get here is noted as the others are.

        Args:
            reason: one of few words.
            failed: it could not be connected, or served; else nobody took it.
        """
        assigned = self._store.routing.decide(info.called)
        outcome = Outcome.FAILED if failed else Outcome.DECLINED
        if not failed:
            self._vitals.declined.labels(reason).inc()
        begun = self._begin(info, assigned)
        begun.write(CallEnded(time.monotonic(), outcome, reason, by_caller=False))

    async def __call__(self, transport: CallTransport) -> None:
        """One call, with the agent that its number is routed to.

        Raises:
            CallDeclined: nobody takes it, or a service has no room for it, and its route names no
                extension for that.
            Exception: its agent cannot be had, e.g. a tool of its is missing; that is noted.
        """
        assigned = self._store.routing.decide(transport.info.called)
        if assigned.agent is None:
            await self._decline(transport, assigned, assigned.reason)
            return
        if (refusal := self._readiness.refusal) is not None:
            own = assigned.agent.config.fallback.transfer_to
            fallback = own or assigned.fallback or self._config.fallback
            refused = replace(assigned, fallback=fallback, reason=refusal)
            await self._decline(transport, refused, "service")
            return
        async with AsyncExitStack() as stack:
            try:
                who = await stack.enter_async_context(self._staff.working(assigned.agent))
            except Exception:
                self.refused(transport.info, "agent", failed=True)
                raise
            await self._talk(transport, assigned, assigned.agent.id, who)

    async def _talk(
        self, transport: CallTransport, assigned: Assignment, version_id: int, who: Colleague
    ) -> None:
        conversation_id = uuid.uuid4().hex
        log.info("call_assigned", call=transport.info.call_id, conversation=conversation_id)
        context = CallContext(conversation_id, self._instance, version_id, assigned.route_id)
        config = with_fallback(who.config, assigned.fallback or self._config.fallback)
        if not self._may_record(transport):
            await self._run(config, transport, who, context)
            return
        async with self._store.recordings.open(
            conversation_id, transport.audio_format
        ) as recording:
            context = replace(context, consent=Consent.GIVEN, recording=recording.name)
            await self._run(config, transport, who, context, recording)

    async def _run(
        self,
        config: AgentConfig,
        transport: CallTransport,
        who: Colleague,
        context: CallContext,
        recording: CallRecording | None = None,
    ) -> None:
        await Conversation(
            config,
            transport,
            self._services,
            self._phrases,
            who.model,
            who.tools,
            self._journal(context),
            recording,
        ).run()

    def _may_record(self, transport: CallTransport) -> bool:
        consent = transport.info.variables.get("consent")
        return self._config.record and consent == Consent.GIVEN

    async def _decline(self, transport: CallTransport, assigned: Assignment, label: str) -> None:
        self._vitals.declined.labels(label).inc()
        journal = self._begin(transport.info, assigned)
        now, cause = time.monotonic(), assigned.reason
        try:
            if assigned.fallback is None:
                raise CallDeclined(cause)
            try:
                await transport.transfer(assigned.fallback)
            except ValueError as error:
                cause = f"{cause}; {error}"
                raise CallDeclined(cause) from None
        finally:
            journal.write(CallEnded(now, Outcome.DECLINED, cause, by_caller=False))

    def _begin(self, info: CallInfo, assigned: Assignment) -> Journal:
        """It is in the store as a conversation that nobody answered."""
        agent = assigned.agent
        version = agent.id if agent else None
        context = CallContext(uuid.uuid4().hex, self._instance, version, assigned.route_id)
        journal = self._journal(context)
        name, language = (agent.agent, agent.config.language) if agent else ("", "")
        journal.write(CallBegan(time.monotonic(), time.time(), info, name, language))
        return journal

    def _journal(self, context: CallContext) -> Journal:
        return self._vitals.observed(self._store.journal.journal(context))


def with_fallback(config: AgentConfig, extension: str | None) -> AgentConfig:
    """The agent's own fallback comes first."""
    if config.fallback.transfer_to is not None or extension is None:
        return config
    return config.model_copy(update={"fallback": FallbackConfig(transfer_to=extension)})
