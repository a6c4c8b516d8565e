"""The program tells Prometheus of its calls, apart from the page, which is for everybody."""

import asyncio
import socket
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from examples.browser.__main__ import main
from services.cli.processes import free_port


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_call_that_came_to_nothing_is_counted(tmp_path: Path) -> None:
    given_up = asyncio.Event()
    silent = await asyncio.start_server(partial(_say_nothing, until=given_up), "127.0.0.1", 0)
    services = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    (tmp_path / "voice-agent.yaml").write_text(f"{{asr_url: '{services}', tts_url: '{services}'}}")
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
                        await second.recv()  # the first is still being connected to the services
                given_up.set()
                with pytest.raises(ConnectionClosed):
                    while True:
                        await first.recv()
            told = ""
            async with asyncio.timeout(10):
                while "voice_event_loop_lag_seconds_count 0.0" in told or not told:
                    told = (await http.get(f"http://127.0.0.1:{metrics_port}/metrics")).text
                    await asyncio.sleep(0.1)
            assert (await http.get(f"http://127.0.0.1:{port}/metrics")).status_code == 404
    finally:
        given_up.set()
        silent.close()
        program.terminate()
        async with asyncio.timeout(20):
            await program.wait()
    lines = told.splitlines()
    assert 'voice_calls_ended_total{outcome="failed"} 1.0' in lines
    assert 'voice_calls_declined_total{reason="busy"} 1.0' in lines
    assert "voice_calls 0.0" in lines
    assert any(line.startswith("voice_event_loop_lag_seconds_count ") for line in lines)


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["--metrics-port", port, "--port", "0"]) == 1
    assert f"port {port}: " in capsys.readouterr().err


async def _say_nothing(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: asyncio.Event
) -> None:
    await until.wait()
    writer.close()


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False
