"""The program tells Prometheus of its calls, apart from the page, which is for everybody."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from services.cli.processes import free_port


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_call_that_came_to_nothing_is_counted(tmp_path: Path) -> None:
    (tmp_path / "voice-agent.yaml").write_text(
        "{asr_url: 'http://127.0.0.1:1', tts_url: 'http://127.0.0.1:1'}"
    )
    port, metrics_port = free_port(), free_port()
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.browser", "--config", tmp_path / "voice-agent.yaml"),
        *("--port", str(port), "--metrics-port", str(metrics_port), "--max-calls", "1"),
    )
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            while not await _answers(http, f"http://127.0.0.1:{port}/"):
                assert program.returncode is None
                await asyncio.sleep(0.2)
            url = f"ws://127.0.0.1:{port}/call"
            async with connect(url, proxy=None) as first:
                async with connect(url, proxy=None) as second:
                    with pytest.raises(ConnectionClosed):
                        await second.recv()
                with pytest.raises(ConnectionClosed):
                    while True:
                        await first.recv()
            told = (await http.get(f"http://127.0.0.1:{metrics_port}/metrics")).text
            assert (await http.get(f"http://127.0.0.1:{port}/metrics")).status_code == 404
    finally:
        program.terminate()
        async with asyncio.timeout(20):
            await program.wait()
    lines = told.splitlines()
    assert 'voice_calls_ended_total{outcome="failed"} 1.0' in lines
    assert 'voice_calls_declined_total{reason="busy"} 1.0' in lines
    assert "voice_calls 0.0" in lines
    assert not any(line.startswith("voice_event_loop_lag_seconds_count 0") for line in lines)


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False
