"""The examinations behind `voice agent doctor`, in the order in which one would mend things."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import EntryPoint, entry_points

import httpx

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.findings import Finding, State
from examples.voice_agent.readiness import ready_url, why_not
from examples.voice_agent.secrets import SecretError, read_secret
from examples.voice_agent.settings import AgentSettings
from examples.voice_agent.store.agents import Agents
from examples.voice_agent.store.database import DATABASE_ERRORS, Database
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.migrate import current_revision, newest_revision
from examples.voice_agent.store.spool import Spool
from examples.voice_agent.trial_call import place_trial_call
from services.client.connection import ServiceError

CHECKS = "voice.agent.checks"
_HTTP_S = 5.0
_MOST_CALLS = 5
_UNDERSTOOD = 0.5
"""Share of the words that a fair model hears of a clean recording."""
_SLOW_S = 2.0
"""From the question to the answer; people begin to ask whether somebody is there."""
_PLUGIN_S = 60.0
"""A loopback call takes a while."""

Checks = Callable[[], Awaitable[Sequence[Finding]]]


async def examine(settings: AgentSettings, *, call: bool = True) -> list[Finding]:
    """Everything; nothing is changed.

    Args:
        call: also call each agent, by way of a loopback.
    """
    database = Database(settings.store)
    try:
        findings, agents = await _database(database)
    finally:
        await database.close()
    findings += await asyncio.to_thread(_spool, settings)
    async with httpx.AsyncClient(timeout=_HTTP_S, trust_env=False) as http:
        services = {"asr": settings.asr_url, "tts": settings.tts_url}
        findings += [await _service(http, name, url) for name, url in services.items()]
        models = {(each.llm.base_url, each.llm.model): each for each in agents}
        findings += [await _model(http, each) for each in models.values()]
    if call:
        findings += await _calls(settings, agents, findings)
    for plugin in entry_points(group=CHECKS):
        findings += await _plugin(plugin)
    return findings


async def _database(database: Database) -> tuple[list[Finding], list[AgentConfig]]:
    where = database.url.render_as_string(hide_password=True)
    try:
        newest = await asyncio.to_thread(newest_revision)
        found = await current_revision(database)
        if found != newest:
            told = f"{where} is at {found or 'nothing'}, not at {newest}"
            return [Finding("database", State.FAIL, told, "voice agent migrate")], []
        agents = [each.config for each in await Agents(database).newest()]
    except (StoreError, *DATABASE_ERRORS) as error:
        brief = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "start it, or set store.url; `voice agent migrate` makes a new one"
        return [Finding("database", State.FAIL, f"{where}: {brief}", remedy)], []
    found_agents = Finding("agents", State.OK, ", ".join(each.name for each in agents))
    if not agents:
        found_agents = Finding("agents", State.WARN, "none", "voice agent create FILE")
    return [Finding("database", State.OK, f"{where} at {newest}"), found_agents], agents


def _spool(settings: AgentSettings) -> list[Finding]:
    folder, findings = settings.store.journal.spool, []
    for instance in sorted(folder.iterdir()) if folder.is_dir() else []:
        spool = Spool(instance, settings.store.journal.spool_bytes)
        spool.look()
        if spool:
            told = f"{spool.size} bytes of {instance.name} wait for the database"
            remedy = f"they are stored when {instance.name} runs and the database is there"
            findings.append(Finding("spool", State.WARN, told, remedy))
    return findings or [Finding("spool", State.OK, "empty")]


async def _service(http: httpx.AsyncClient, service: str, url: str) -> Finding:
    name = service.upper()
    try:
        answer = await http.get(ready_url(service, url))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        remedy = f"start it, or set {service}_url"
        return Finding(name, State.FAIL, f"{url}: {error or type(error).__name__}", remedy)
    if answer.status_code == 200:
        return Finding(name, State.OK, f"{url} is ready")
    if answer.status_code < 500:
        told = f"{url} does not tell whether it is ready ({answer.status_code})"
        remedy = "calls are taken untold; nginx tells whom it trusts: `voice nginx --trust`"
        return Finding(name, State.WARN, told, remedy)
    unanswered = answer.status_code in (502, 504)
    told = f"{url}: {'no instance answers' if unanswered else why_not(answer)}"
    return Finding(name, State.FAIL, told, "its log says why it is not ready")


async def _model(http: httpx.AsyncClient, agent: AgentConfig) -> Finding:
    llm = agent.llm
    what, headers = f"LLM of {agent.name}", {}
    if llm.api_key_env is not None:
        try:
            headers["Authorization"] = f"Bearer {read_secret(llm.api_key_env)}"
        except SecretError as error:
            return Finding(what, State.FAIL, f"no key in {llm.api_key_env}", str(error))
    try:
        answer = await http.get(f"{llm.base_url.rstrip('/')}/models", headers=headers)
        answer.raise_for_status()
        served = [str(each["id"]) for each in answer.json()["data"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        told = f"{llm.base_url}: {error or type(error).__name__}"
        return Finding(what, State.FAIL, told, "start it, or make a version with another base_url")
    if served and llm.model not in served:
        told = f"{llm.base_url} does not list {llm.model}, but {', '.join(served[:5])}"
        return Finding(what, State.WARN, told, "make a version with a model that it serves")
    return Finding(what, State.OK, f"{llm.base_url} serves {llm.model}")


async def _calls(
    settings: AgentSettings, agents: Sequence[AgentConfig], so_far: Sequence[Finding]
) -> list[Finding]:
    broken = [each.what for each in so_far if each.state is State.FAIL]
    if broken and agents:
        told = f"not tried, because of {', '.join(broken)}"
        return [Finding("trial call", State.WARN, told, "mend that first")]
    return [await _call(settings, agent) for agent in agents[:_MOST_CALLS]]


async def _call(settings: AgentSettings, agent: AgentConfig) -> Finding:
    what = f"trial call to {agent.name}"
    try:
        done = await place_trial_call(agent, settings.services())
    except ServiceError as error:
        return Finding(what, State.FAIL, str(error), "see that the TTS service has its language")
    if done.problem is not None:
        told = f"asked “{done.asked}”, heard “{done.heard}”, but {done.problem}"
        return Finding(what, State.FAIL, told, "the services' logs say more")
    took = ", ".join(f"{name} {seconds:.2f}" for name, seconds in done.stages.items())
    answer_s = done.answer_s or 0.0
    told = f"heard “{done.heard}”, said “{done.said}” after {answer_s:.2f} s ({took})"
    if done.understood < _UNDERSTOOD:
        remedy = f"“{done.asked}” was said: is the ASR model made for {agent.language}?"
        return Finding(what, State.WARN, told, remedy)
    if answer_s > _SLOW_S:
        return Finding(what, State.WARN, told, "see which stage takes longest; `voice bench call`")
    return Finding(what, State.OK, told)


async def _plugin(plugin: EntryPoint) -> Sequence[Finding]:
    try:
        checks: Checks = plugin.load()
        async with asyncio.timeout(_PLUGIN_S):
            return await checks()
    except (ImportError, AttributeError, TimeoutError) as error:
        told = f"{plugin.value}: {error or type(error).__name__}"
        return [Finding(plugin.name, State.FAIL, told)]
