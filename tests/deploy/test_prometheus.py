"""Rules and dashboard against a real Prometheus that reads the real services."""

import asyncio
import math
import re
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import services.asr.messages as asr
import services.tts.messages as tts
from examples.asterisk_bridge.bridge import watched_connection
from examples.voice_agent.api.app import create_app, serving
from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.store.config import JournalConfig, RecordingConfig, StoreConfig
from examples.voice_agent.store.records import CallContext
from examples.voice_agent.store.store import Store, open_store
from examples.voice_agent.vitals import Vitals, observing
from services.balancer.plan import Plan
from services.balancer.process import balancing
from services.client.asr import open_asr, transcribe_file
from services.client.tts import open_tts
from services.shared.media.wav import wav_bytes
from tests.deploy.dashboards import (
    DEPLOY,
    Query,
    alerts,
    metrics_in,
    panel_queries,
    recordings,
    rules,
)
from tests.deploy.prometheus import MISSING, PROMETHEUS, PROMTOOL, Prometheus, prometheus
from tests.examples.voice_agent.store.calls import whole_call
from tests.services.asr.sounds import RATE, joined, pcm, silence, tone
from tests.services.process import FAKE_ASR, ServiceProcess, free_port, service_process

FOLDER = DEPLOY / "prometheus"
FAKE_TTS = {"TTS__ENGINES__PIPER__ENABLED": "false", "TTS__ENGINES__FAKE__ENABLED": "true"}
SPEECH = joined(silence(200), tone(400, 600), silence(800))
ABSENT = {
    "voice_gpu_memory_bytes",  # this machine may have none
    "voice_gpu_memory_used_bytes",
    "voice_asr_engine_open",  # only with engine.failover
    "ALERTS",  # nothing fires
}
EMPTY = {
    "GPU memory: A",
    "Memory: B",  # no engine runs in a process of its own
    "annotation Alerts",
}
"""Queries that find nothing in services that are well."""
SLOW_MACHINE = {
    "VoiceEventLoopLate",
    "VoiceFinalsLate",
    "VoiceGivesUp",
    "VoiceFirstAudioLate",
    "VoiceSpeechBreaks",
    "VoiceQueueGrowing",
}
"""What a machine that is busy with other tests may fire, too."""

needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason=MISSING)


def promtool(*arguments: str) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_the_configuration_is_valid() -> None:
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


@needs_prometheus
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml")


def test_each_alert_is_tried_both_ways() -> None:
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    tried = [each for test in tests for each in test["alert_rule_test"]]
    named = {query.of for query in alerts()}
    assert {each["alertname"] for each in tried if each["exp_alerts"]} == named
    assert {each["alertname"] for each in tried if not each["exp_alerts"]} == named


def test_each_alert_says_what_it_means_and_what_to_do() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (\w+)$", readme, re.MULTILINE)
    assert sections == [query.of for query in alerts()]
    for rule in rules():
        if "alert" in rule:
            anchor = f"deploy/prometheus/README.md#{rule['alert'].lower()}"
            assert set(rule["annotations"]) == {"summary", "description", "runbook"}
            assert rule["annotations"]["runbook"] == anchor
            assert rule["labels"]["severity"] in ("page", "warn")


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Prometheus]:
    """All that is scraped, which something has happened to, and its Prometheus."""
    async with AsyncExitStack() as stack:
        hears = await stack.enter_async_context(service_process("asr", **FAKE_ASR))
        speaks = await stack.enter_async_context(service_process("tts", **FAKE_TTS))
        agent = await stack.enter_async_context(agent_api(tmp_path))
        await hears.ready()
        await speaks.ready()
        counters = f"127.0.0.1:{free_port()}"
        front = Plan(
            asr=(hears.address,),
            tts={"main": (speaks.address,)},
            listen=f"127.0.0.1:{free_port()}",
            status=counters,
        )
        await stack.enter_async_context(balancing(front, tmp_path))
        targets = {
            "voice-asr": hears.address,
            "voice-tts": speaks.address,
            "voice-nginx": counters,
            "voice-agent": agent,
        }
        server = await stack.enter_async_context(prometheus(tmp_path, targets))
        await server.scraped(len(targets))
        for _ in range(2):
            await be_heard(hears, tmp_path)
            await be_spoken_to(speaks)
            await server.scraped(len(targets))
        await server.scraped(len(targets))
        yield server


@asynccontextmanager
async def agent_api(folder: Path) -> AsyncIterator[str]:
    """Its address."""
    config = StoreConfig(
        url=f"sqlite:///{folder}/agent.db",
        journal=JournalConfig(spool=folder / "spool"),
        recording=RecordingConfig(folder=folder / "recordings"),
    )
    async with AsyncExitStack() as stack:
        vitals = await stack.enter_async_context(observing())
        watched_connection(vitals).set()
        registry = vitals.registry
        opened = open_store(config, instance="test", registry=registry)
        store = await stack.enter_async_context(opened)
        app = create_app(store, ApiConfig(port=0), vitals=vitals)
        url = await stack.enter_async_context(serving(app, ApiConfig(port=0)))
        calls = asyncio.create_task(be_called(vitals, store))
        try:
            yield url.removeprefix("http://")
        finally:
            calls.cancel()
            await asyncio.wait([calls])


async def be_called(vitals: Vitals, store: Store) -> None:
    """Call after call, until cancelled."""
    while True:
        journal = store.journal.journal(CallContext(uuid.uuid4().hex, "test"))
        for entry in whole_call():
            vitals.observed(journal).write(entry)
        await asyncio.sleep(0.5)


async def be_heard(service: ServiceProcess, folder: Path) -> None:
    async with open_asr(service.ws, asr.Start(sample_rate=RATE)) as stream:
        await stream.send_audio(pcm(SPEECH))
        await stream.stop()
        said = [message async for _, message in stream.events()]
    assert any(isinstance(message, asr.Final) for message in said)
    file = folder / "speech.wav"
    file.write_bytes(wav_bytes(SPEECH, RATE))
    await transcribe_file(service.http, file)


async def be_spoken_to(service: ServiceProcess) -> None:
    async with open_tts(service.ws) as stream:
        for text in ("Good morning to you.", "Good morning to you."):  # the second from the cache
            await stream.start(tts.Start(context_id="a"))
            await stream.send_text(text, "a")
            await stream.end("a")
            async for _, message in stream.events():
                if isinstance(message, tts.AudioFinished):
                    break
        await stream.start(tts.Start(context_id="b"))
        await stream.send_text("This one is cancelled before it is over. " * 20, "b")
        await stream.flush("b")
        async for _, message in stream.events():
            if isinstance(message, bytes):
                break
        await stream.cancel("b")
        async for _, message in stream.events():
            if isinstance(message, tts.Cancelled):
                break
        await stream.close()
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{service.http}/v1/synthesize", json={"text": "Good evening."})
        assert answer.status_code == 200


@needs_prometheus
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_every_query_is_answered(watched: Prometheus) -> None:
    """Panels and recordings have data, no alert fires for nothing, and each name is told."""
    panels = panel_queries("2m", {"job": "voice-.+", "instance": ".*"})
    unknown = await named_by_nobody(watched, [*panels, *alerts(), *recordings()])
    assert unknown == {}
    empty = {each.of for each in panels if not has_data(await watched.query(each.text))}
    assert empty == EMPTY
    for each in recordings():
        assert has_data(await watched.query(each.text)), each
        assert has_data(await watched.query(each.of)), f"{each.of} is not recorded"
    assert [each["value"][1] for each in await watched.query('up{job="voice-nginx"}')] == ["1"]
    assert has_data(await watched.query("nginx_connections_active"))
    for each in alerts():
        found = await watched.query(each.text)
        assert found == [] or each.of in SLOW_MACHINE, f"{each.of} would fire"
    for rule in await watched.rules():
        assert rule["health"] == "ok", rule


def has_data(series: list[dict[str, Any]]) -> bool:
    """A quantile of nothing is NaN."""
    return any(not math.isnan(float(each["value"][1])) for each in series)


async def named_by_nobody(server: Prometheus, queries: list[Query]) -> dict[str, set[str]]:
    known = await server.names() | ABSENT
    found = {each.of: metrics_in(each.text) - known for each in queries}
    return {of: names for of, names in found.items() if names}
