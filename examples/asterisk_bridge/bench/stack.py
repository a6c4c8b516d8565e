"""Everything that a call needs, on this machine: Asterisk, ASR, TTS, language model, bridge."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from examples.asterisk_bridge.bench.asterisk_server import (
    PASSWORD,
    USER,
    AsteriskServer,
    bench_root,
)
from examples.asterisk_bridge.bench.programs import answers, program
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.settings import AgentSettings, load_settings
from examples.voice_agent.store.inbound_routes import RouteSettings
from examples.voice_agent.store.store import open_store
from services.cli.processes import ServiceFailed, ServiceProcess, free_port, running

NUMBER = "1000"
SCRIPTED, SMOLLM2 = "scripted", "smollm2"
_WEIGHTS = "srv/llm/SmolLM2-135M-Instruct.Q4_1.gguf"
_ANSWERS = Path(__file__).with_name("answers.txt")
_CONTEXT_TOKENS = 2048
_DRAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class StackPlan:
    """What to start, and what is there already."""

    llm: str = SCRIPTED
    """"scripted", "smollm2", or the base URL of an OpenAI-compatible server."""
    llm_model: str = "default"
    first_token_ms: float = 50.0
    """Of the scripted one, and the time between its words."""
    token_ms: float = 20.0
    media: str = "auto"
    asr_url: str | None = None
    asr_config: Path | None = None
    tts_url: str | None = None
    tts_config: Path | None = None
    agent: Path | None = None
    """YAML of another agent; its `llm` is replaced."""
    calls: int = 1
    """At once."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where it is. `pids`, by name, are those of what was started."""

    sip: tuple[str, int]
    number: str
    settings: AgentSettings | None
    """Of the store; None: it is not known."""
    pids: dict[str, int] = field(default_factory=dict)
    asterisk: AsteriskServer | None = None
    urls: dict[str, str] = field(default_factory=dict)
    """Of ASR and TTS, for their metrics."""


@asynccontextmanager
async def running_stack(plan: StackPlan, folder: Path) -> AsyncIterator[Stack]:
    """Start all of it, stop it at the end. Logs, database and settings lie in `folder`.

    Raises:
        ServiceFailed: something is missing or did not start.
    """
    async with AsyncExitStack() as stack:
        asterisk = await _asterisk(stack)
        pids = {"asterisk": asterisk.pid}
        urls = await _services(stack, plan, folder, pids)
        llm_url = await _language_model(stack, plan, folder, pids)
        file = folder / "voice-agent.yaml"
        settings = await asyncio.to_thread(_written, file, folder, urls)
        await _hire(settings, _agent(plan, llm_url))
        pids["bridge"] = await _bridge(stack, plan, folder, file, asterisk)
        yield Stack(("127.0.0.1", asterisk.sip_port), NUMBER, settings, pids, asterisk, urls)


async def _asterisk(stack: AsyncExitStack) -> AsteriskServer:
    root = bench_root()
    if not (root / "usr/sbin/asterisk").exists():
        raise ServiceFailed(f"there is no Asterisk in {root}: run scripts/make_asterisk_bench.sh")
    server = AsteriskServer(root)
    await asyncio.to_thread(server.__enter__)
    stack.push_async_callback(asyncio.to_thread, server.__exit__, None, None, None)
    return server


async def _services(
    stack: AsyncExitStack, plan: StackPlan, folder: Path, pids: dict[str, int]
) -> dict[str, str]:
    """ASR and TTS; gives their URLs."""
    urls = {"asr": plan.asr_url, "tts": plan.tts_url}
    sessions = str(2 * plan.calls + 4)
    started = []
    for name, config in (("asr", plan.asr_config), ("tts", plan.tts_config)):
        if urls[name] is not None:
            continue
        environment = {f"{name.upper()}__LIMITS__MAX_SESSIONS": sessions}
        if name == "tts":  # what was said before must not make an answer look fast
            environment["TTS__CACHE__ENABLED"] = "false"
        lines = stack.enter_context((folder / f"{name}.log").open("w", encoding="utf-8"))
        service = ServiceProcess(
            name,  # type: ignore[arg-type]
            config=config,
            environment=environment,
            on_line=lambda line, lines=lines: print(line, file=lines, flush=True),  # type: ignore[misc]
        )
        urls[name] = service.http_url
        started.append(service)
    await stack.enter_async_context(running(*started))
    pids |= {service.name: service.pid for service in started if service.pid is not None}
    return {name: url for name, url in urls.items() if url is not None}


async def _language_model(
    stack: AsyncExitStack, plan: StackPlan, folder: Path, pids: dict[str, int]
) -> str:
    """Gives its base URL."""
    if plan.llm not in (SCRIPTED, SMOLLM2):
        return plan.llm
    port = str(free_port())
    if plan.llm == SCRIPTED:
        command: list[str | Path] = [
            *(sys.executable, "-m", "examples.asterisk_bridge.bench.scripted_llm", "--port", port),
            *("--first-token-ms", str(plan.first_token_ms), "--token-ms", str(plan.token_ms)),
            *("--answers", _ANSWERS),
        ]
        ready = answers(f"http://127.0.0.1:{port}/v1/models")
    else:
        root = bench_root()
        if not (root / _WEIGHTS).exists():
            raise ServiceFailed(f"there is no model in {root}: run scripts/make_llm_bench.sh")
        # One thread: it shares the cores with everything else, and generates fast enough.
        command = [
            *("chroot", root, "llama-server", "-m", f"/{_WEIGHTS}"),
            *("--host", "127.0.0.1", "--port", port, "--threads", "1"),
            *("--parallel", str(plan.calls), "--ctx-size", str(_CONTEXT_TOKENS * plan.calls)),
        ]
        ready = answers(f"http://127.0.0.1:{port}/health")
    running_llm = program("the language model", command, folder / "llm.log", ready)
    pids["llm"] = await stack.enter_async_context(running_llm)
    return f"http://127.0.0.1:{port}/v1"


def _agent(plan: StackPlan, llm_url: str) -> AgentConfig:
    if plan.agent is not None:
        fields: dict[str, Any] = yaml.safe_load(plan.agent.read_text(encoding="utf-8"))
    else:
        fields = {
            "name": "bench",
            "prompt": "You are at the front desk of a small clinic. You are on the telephone: "
            "answer in one or two short sentences.",
            "greeting": "Good morning, this is the front desk. How can I help you?",
        }
    # An answer of about five seconds: a small model does not end by itself.
    llm = {"base_url": llm_url, "model": plan.llm_model, "temperature": 0.0, "max_tokens": 25}
    return AgentConfig.model_validate({**fields, "llm": llm})


def _written(file: Path, folder: Path, urls: dict[str, str]) -> AgentSettings:
    store = {
        "url": f"sqlite:///{folder}/agent.db",
        "journal": {"spool": str(folder / "spool")},
        "recording": {"folder": str(folder / "recordings")},
    }
    told = {"instance": "bench", "asr_url": urls["asr"], "tts_url": urls["tts"], "store": store}
    file.write_text(yaml.safe_dump(told), encoding="utf-8")
    return load_settings(file)


async def _hire(settings: AgentSettings, agent: AgentConfig) -> None:
    async with open_store(settings.store, instance="setup") as store:
        await store.agents.create(agent)
        route = RouteSettings.model_validate({"pattern": NUMBER, "agent": agent.name})
        await store.routes.create(route)


async def _bridge(
    stack: AsyncExitStack, plan: StackPlan, folder: Path, file: Path, asterisk: AsteriskServer
) -> int:
    config = folder / "bridge.yaml"
    told = {
        "ari": {"url": asterisk.url, "username": USER},
        "media": {"kind": plan.media},
        "calls": {"max_calls": plan.calls + 2, "drain_s": _DRAIN_S},
        "agents": {"settings": str(file), "api": False},
    }
    await asyncio.to_thread(config.write_text, yaml.safe_dump(told), encoding="utf-8")
    command = (sys.executable, "-m", "examples.asterisk_bridge", "--config", str(config))
    listens = answers(f"{asterisk.url}/ari/applications/va", (USER, PASSWORD))
    environment = os.environ | {"BRIDGE__ARI__PASSWORD": PASSWORD}
    running_bridge = program("bridge", command, folder / "bridge.log", listens, environment)
    return await stack.enter_async_context(running_bridge)
