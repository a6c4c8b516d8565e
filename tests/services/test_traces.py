"""Traces from the client through nginx to a service, as a collector gets them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

import services.asr.messages as asr
import services.tts.messages as tts
from services.asr.app import create_app as asr_app
from services.asr.config import AsrConfig, EngineConfig, VadConfig
from services.balancer.plan import ClientLimits, Plan
from services.balancer.process import BalancerFailed, balancing, find_nginx
from services.cli.processes import free_port
from services.client.asr import open_asr
from services.client.connection import headers_for
from services.client.tts import open_tts, synthesize
from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.config import ConfigError, ServerConfig, TracingConfig
from services.shared.runtime.tracing import NO_SPAN, NO_TRACER, create_tracer, current_span
from services.tts.app import create_app as tts_app
from services.tts.config import EnginesConfig, FakeEngineConfig, PiperEngineConfig, TtsConfig
from services.tts.engines.fake import FAIL_WORD
from tests.services.asr.sounds import RATE, joined, pcm, silence, tone
from tests.services.collector import Collected, Collector, collecting
from tests.services.serving import LiveService, serving

SPEECH = joined(silence(200), tone(400, 600), silence(900))
QUICK = ServerConfig(drain_s=0.5)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def hears(collector: Collector) -> Iterator[LiveService]:
    config = AsrConfig(
        engine=EngineConfig(name="fake"),
        vad=VadConfig(name="energy"),
        tracing=TracingConfig(endpoint=collector.url, trust_parent=True),
    )
    with serving(asr_app(config), config.limits, QUICK) as service:
        yield service


@pytest.fixture
def speaks(collector: Collector) -> Iterator[LiveService]:
    engines = EnginesConfig(
        piper=PiperEngineConfig(enabled=False), fake=FakeEngineConfig(enabled=True)
    )
    tracing = TracingConfig(endpoint=collector.url, trust_parent=True)
    config = TtsConfig(engines=engines, tracing=tracing)
    with serving(tts_app(config), config.limits, QUICK) as service:
        yield service


@pytest.fixture
def caller() -> Tracer:
    """A program that has traces of its own."""
    return TracerProvider(shutdown_on_exit=False).get_tracer("caller")


async def be_heard(ws: str) -> str:
    async with open_asr(ws, asr.Start(sample_rate=RATE)) as stream:
        await stream.send_audio(pcm(SPEECH))
        await stream.stop()
        said = [message async for _, message in stream.events()]
    [text] = [message.text for message in said if isinstance(message, asr.Final) if message.text]
    return text


async def test_a_session_is_a_part_of_its_callers_trace(
    collector: Collector, hears: LiveService, caller: Tracer
) -> None:
    with caller.start_as_current_span("call") as call:
        text = await be_heard(hears.ws)
        context = call.get_span_context()
    hears.stop()
    session = collector.one("WebSocket /v1/stream/asr")
    assert session.trace_id == f"{context.trace_id:032x}"
    assert session.parent_id == f"{context.span_id:016x}"
    assert session.service == "voice-asr"
    assert session.attributes["websocket.close_code"] == 1000
    assert len(session.attributes["session_id"]) == 32
    assert collector.below(session) == ["turn"]
    assert_a_whole_turn(collector, collector.one("turn"))
    assert {span.trace_id for span in collector.spans} == {session.trace_id}
    assert text not in str(collector.spans)


def assert_a_whole_turn(collector: Collector, turn: Collected) -> None:
    assert {"decode", "turn model", "final"} == set(collector.below(turn))
    decodes = [span for span in collector.named("decode") if "run_ms" in span.attributes]
    assert {span.attributes["kind"] for span in decodes} >= {"final"}
    for span in decodes:
        # It is asked for a moment before its span begins, which a busy machine makes longer.
        assert span.attributes["run_ms"] + span.attributes["queue_ms"] <= span.seconds * 1000 + 50
    final = collector.one("final")
    assert final.attributes["turn_end"] is True
    told = {"vad_wait_ms", "queue_ms", "decode_ms", "turn_model_ms", "total_ms", "batch_size"}
    assert told <= set(final.attributes)
    assert final.seconds == pytest.approx(final.attributes["total_ms"] / 1000, abs=0.05)


async def test_a_synthesis_has_a_span_for_each_context_and_segment(
    collector: Collector, speaks: LiveService, caller: Tracer
) -> None:
    with caller.start_as_current_span("call"):
        async with open_tts(speaks.ws) as stream:
            await stream.start(tts.Start(context_id="a"))
            await stream.send_text("Good morning to you all. And a very good evening, too.", "a")
            await stream.end("a")
            async for _, message in stream.events():
                if isinstance(message, tts.AudioFinished):
                    break
            await stream.close()
    speaks.stop()
    session = collector.one("WebSocket /v1/stream/tts")
    context = collector.one("context")
    assert collector.below(session) == ["context"]
    assert context.events == ["first audio"]
    assert context.attributes["audio_ms"] > 0
    assert set(collector.below(context)) == {"segment"}
    segments = collector.named("segment")
    assert len(segments) == 2
    assert [span.attributes["source"] for span in segments] == ["engine", "engine"]
    assert segments[0].events == ["first audio"]
    assert "morning" not in str(collector.spans)


async def test_a_context_that_fails_ends_with_its_error(
    collector: Collector, speaks: LiveService
) -> None:
    async with open_tts(speaks.ws) as stream:
        for context_id, text in (("a", f"{FAIL_WORD}."), ("b", "Fine."), ("a", "Again.")):
            await stream.start(tts.Start(context_id=context_id))
            await stream.send_text("x" * 30_000, context_id)  # refused, and the context goes on
            await stream.send_text(text, context_id)
            await stream.end(context_id)
            async for _, message in stream.events():
                lost = isinstance(message, Error) and message.code is ErrorCode.ENGINE_FAILED
                if lost or isinstance(message, tts.AudioFinished):
                    break
        await stream.close()
    speaks.stop()
    failed, *spoken = sorted(
        collector.named("context"), key=lambda span: span.wire.end_time_unix_nano
    )
    assert failed.wire.status.message == "engine_failed"
    assert ["audio_ms" in span.attributes for span in spoken] == [True, True]
    assert not any("unfinished" in span.attributes for span in collector.named("context"))


async def test_a_request_is_a_span_with_its_segments(
    collector: Collector, speaks: LiveService, caller: Tracer
) -> None:
    with caller.start_as_current_span("request") as request:
        async for _ in synthesize(speaks.http, {"text": "Good morning."}):
            pass
        trace_id = f"{request.get_span_context().trace_id:032x}"
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"{speaks.http}/metrics")
    speaks.stop()
    served = collector.one("POST /v1/synthesize")
    assert served.trace_id == trace_id
    assert served.attributes["http.response.status_code"] == 200
    assert collector.below(served) == ["segment"]
    assert not [span for span in collector.spans if "metrics" in span.name], "no trace of scrapes"


@pytest.fixture
def nginx() -> None:
    try:
        find_nginx()
    except BalancerFailed as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("nginx")
async def test_a_trace_goes_through_nginx(
    collector: Collector, hears: LiveService, caller: Tracer, tmp_path: Path
) -> None:
    unlimited = ClientLimits(address_connections=0, key_connections=0, address_rate=0, key_rate=0)
    plan = Plan(
        listen=f"127.0.0.1:{free_port()}",
        asr=(hears.address,),
        tts={"default": ("127.0.0.1:2",)},
        limits=unlimited,
    )
    async with balancing(plan, tmp_path):
        with caller.start_as_current_span("call") as call:
            await be_heard(f"ws://{plan.listen}")
            trace_id = f"{call.get_span_context().trace_id:032x}"
    hears.stop()
    session = collector.one("WebSocket /v1/stream/asr")
    assert session.trace_id == trace_id
    assert len(session.attributes["request_id"]) == 32, "the one that nginx gave"


async def test_without_a_caller_a_trace_begins_here(
    collector: Collector, hears: LiveService
) -> None:
    await be_heard(hears.ws)
    hears.stop()
    assert collector.one("WebSocket /v1/stream/asr").parent_id == ""


CALLERS_TRACE, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def asked(collector: Collector, flag: str, **tracing: Any) -> list[Collected]:
    """What is traced of a request that has a parent with this flag (`01`: sampled)."""
    headers = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-{flag}"}
    tracer = create_tracer(TracingConfig(endpoint=collector.url, **tracing), "asr")
    span = tracer.serve("http", headers)
    span.child("turn").end()
    span.end()
    tracer.close()
    return collector.spans


def test_a_stranger_does_not_decide_what_is_traced(collector: Collector) -> None:
    assert asked(collector, "01", sample=0.0) == []


def test_nor_does_a_stranger_put_off_what_is_traced(collector: Collector) -> None:
    served = {span.name: span for span in asked(collector, "00")}["http"]
    assert (served.parent_id, served.trace_id == CALLERS_TRACE) == ("", False)
    [link] = served.wire.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (CALLERS_TRACE, CALLERS_SPAN)


@pytest.mark.parametrize(("flag", "sample", "traced"), [("01", 0.0, 2), ("00", 1.0, 0)])
def test_a_trusted_caller_decides(
    collector: Collector, flag: str, sample: float, traced: int
) -> None:
    spans = asked(collector, flag, sample=sample, trust_parent=True)
    assert [span.trace_id for span in spans] == [CALLERS_TRACE] * traced


def test_a_program_without_a_span_sends_no_trace(caller: Tracer) -> None:
    assert headers_for("sesame") == {"Authorization": "Bearer sesame"}
    with caller.start_as_current_span("call"):
        assert set(headers_for(None)) == {"traceparent"}


def test_by_default_nothing_is_traced_nor_imported() -> None:
    assert create_tracer(TracingConfig(), "asr") is NO_TRACER
    span = NO_TRACER.serve("http", {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    assert span is current_span() is NO_SPAN
    span.child("turn").event("first audio")
    span.end()
    assert span.trace_id == ""


def test_tracing_without_its_libraries_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "services.shared.runtime.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match="uv sync --group otel"):
        create_tracer(TracingConfig(endpoint="http://127.0.0.1:4318"), "asr")


async def test_a_collector_that_is_away_is_nobodys_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.shared.runtime.otel._EXPORT_S", 0.3)
    config = AsrConfig(
        engine=EngineConfig(name="fake"),
        vad=VadConfig(name="energy"),
        tracing=TracingConfig(endpoint="http://127.0.0.1:1"),
    )
    with serving(asr_app(config), config.limits, QUICK) as service:
        assert await be_heard(service.ws)
