"""A voice chat in a real Chromium: its fake microphone speaks, the page plays the answer."""

import asyncio
import socket
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from examples.browser.app import create_app
from examples.voice_agent.endpoints import SpeechServices
from services.asr.app import create_app as create_asr
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.browser.chromium import program, visiting
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import agent
from tests.services.asr.conftest import tones as asr_tones
from tests.services.serving import serving
from tests.services.tts.conftest import tones as tts_tones

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RATE = 48_000
LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen."
needs_chromium = pytest.mark.skipif(
    program() is None, reason="NO CHROMIUM (Debian: apt install chromium)"
)


@pytest.fixture(scope="module")
def services() -> Iterator[SpeechServices]:
    asr, tts = asr_tones(), TtsConfig(engines=tts_tones())
    with (
        serving(create_asr(asr), asr.limits) as hears,
        serving(create_tts(tts), tts.limits) as speaks,
    ):
        yield SpeechServices(hears.ws, speaks.ws)


@pytest.fixture(scope="module")
def site(services: SpeechServices) -> Iterator[str]:
    """The page, with an agent that answers a tone of 400 Hz with a long sentence."""
    with llm_server(Script([Line("w4", LONG)])) as url, web(services, url) as address:
        yield address


@contextmanager
def web(services: SpeechServices, llm: str) -> Iterator[str]:
    app = create_app(agent(llm, greeting="Hello there."), services, max_calls=1)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def microphone(folder: Path, *parts: tuple[float, float]) -> Path:
    """Tones (seconds, hertz; 0: silence), one after the other."""
    times = [np.arange(round(seconds * RATE)) / RATE for seconds, _ in parts]
    sounds = [
        0.3 * np.sin(2 * np.pi * hertz * t) for t, (_, hertz) in zip(times, parts, strict=True)
    ]
    path = folder / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.concatenate(sounds) * 32767).astype("<i2").tobytes())
    return path


LISTEN = """
(() => {
  const { audio, player } = window.playback;
  const analyser = new AnalyserNode(audio, { fftSize: 2048 });
  player.connect(analyser);
  const samples = new Float32Array(2048);
  window.loudness = 0;
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    window.loudness = Math.max(...samples.map(Math.abs));
  }, 20);
  return true;
})()
"""


@needs_chromium
async def test_a_visitor_talks_with_the_agent(site: str, tmp_path: Path) -> None:
    sound = microphone(tmp_path, (5.0, 0), (1.0, 400), (10.0, 0))
    async with visiting(site, sound, tmp_path / "profile") as page:
        await page.until("document.getElementById('call')?.disabled === false")
        await page.evaluate("document.getElementById('call').click()")
        await page.until("document.getElementById('state').textContent === 'Speak.'")
        await page.evaluate(LISTEN)
        await page.until("document.querySelector('li.agent')?.textContent === 'Hello there.'")
        heard = await page.until("document.querySelector('li.caller')?.textContent", 40)
        assert set(heard.split()) == {"w4"}
        await page.until("window.loudness > 0.05")
        answer = await page.until("document.querySelectorAll('li.agent')[1]?.textContent")
        assert answer == LONG
        await page.until("window.loudness < 0.01")
        await page.evaluate("document.getElementById('call').click()")
        state = await page.evaluate("document.getElementById('state').textContent")
        assert state == "You hung up."


@needs_chromium
async def test_a_visitor_interrupts_and_the_page_falls_silent(site: str, tmp_path: Path) -> None:
    sound = microphone(tmp_path, (5.0, 0), (1.0, 400), (2.5, 0), (1.5, 900), (10.0, 0))
    async with visiting(site, sound, tmp_path / "profile") as page:
        await page.until("document.getElementById('call')?.disabled === false")
        await page.evaluate("document.getElementById('call').click()")
        cut = await page.until("document.querySelector('li.agent.interrupted')?.textContent", 40)
        assert LONG.startswith(cut) and len(cut) < len(LONG)


async def test_the_page_and_its_parts_are_served(site: str) -> None:
    async with httpx.AsyncClient(base_url=site, trust_env=False) as http:
        assert "Voice chat" in (await http.get("/")).text
        for part in ("call.js", "worklets.js"):
            answer = await http.get(part)
            assert answer.status_code == 200 and "javascript" in answer.headers["content-type"]


async def test_other_sites_and_too_many_calls_are_refused(site: str) -> None:
    address = site.replace("http", "ws") + "call"
    async with connect(address, origin="http://elsewhere.example", proxy=None) as stranger:  # type: ignore[arg-type]
        with pytest.raises(ConnectionClosed, match="this site's own page"):
            await stranger.recv()
    async with connect(address, proxy=None) as first:
        await first.recv()
        async with connect(address, proxy=None) as second:
            with pytest.raises(ConnectionClosed, match="all lines are busy"):
                await second.recv()
    await asyncio.sleep(0.3)
    async with connect(address, proxy=None) as third:
        assert await third.recv()
