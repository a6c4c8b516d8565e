"""Plain HTTP requests beside the conversations: each is a newcomer, whom nobody may refuse."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from services.bench.cluster.fingerprints import RATE, FakeVoice
from services.bench.cluster.manner import Manner
from services.bench.cluster.speech import Utterance
from services.shared.media.wav import wav_header

_EVERY_S = 0.1
_TIMEOUT_S = 30.0
_TEXT = "nothing is open on your account"

Ask = Callable[[httpx.AsyncClient], Awaitable[str | None]]
"""Gives what was wrong with the answer, or None."""


@dataclass(slots=True)
class Asked:
    """What became of the requests."""

    answered: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    """In words → how often."""
    longest_s: float = 0.0

    @property
    def notes(self) -> list[str]:
        return [f"{self.answered} HTTP requests answered, the slowest in {self.longest_s:.2f} s"]

    @property
    def faults(self) -> list[str]:
        return [f"{count} HTTP requests: {what}" for what, count in self.wrong.items()]


@asynccontextmanager
async def requesting(manner: Manner, utterance: Utterance) -> AsyncIterator[Asked]:
    """Have texts spoken and a recording written down, one after the other, while the block runs."""
    asked = Asked()
    tasks = [
        asyncio.create_task(_keep_asking(manner.tts_url, manner.tts_key, _speak(manner), asked)),
        asyncio.create_task(
            _keep_asking(manner.asr_url, manner.asr_key, _Writing(utterance).ask, asked)
        ),
    ]
    try:
        yield asked
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_asking(url: str, key: str | None, ask: Ask, asked: Asked) -> None:
    """Until cancelled; every request over a connection of its own to nginx, as strangers come."""
    headers = {"Connection": "close"} | ({"Authorization": f"Bearer {key}"} if key else {})
    base = "http" + url.removeprefix("ws")
    async with httpx.AsyncClient(
        base_url=base, headers=headers, timeout=_TIMEOUT_S, trust_env=False
    ) as http:
        while True:
            began = time.monotonic()
            try:
                wrong = await ask(http)
            except httpx.HTTPError as error:
                wrong = type(error).__name__
            asked.longest_s = max(asked.longest_s, time.monotonic() - began)
            if wrong is None:
                asked.answered += 1
            else:
                asked.wrong[wrong] = asked.wrong.get(wrong, 0) + 1
            await asyncio.sleep(_EVERY_S)


def _speak(manner: Manner) -> Ask:
    """A sentence, whose audio is known when the engine is fake."""
    audio = FakeVoice().audio(_TEXT) if manner.exact else None
    body = {"text": _TEXT, "format": "pcm", "sample_rate": RATE, "cache": "bypass"}

    async def ask(http: httpx.AsyncClient) -> str | None:
        answer = await http.post("/v1/synthesize", json=body)
        if answer.status_code != 200:
            return f"synthesize {answer.status_code}"
        return None if audio in (None, answer.content) else "synthesize gave other audio"

    return ask


class _Writing:
    """A recording, which must always say the same."""

    def __init__(self, utterance: Utterance) -> None:
        data = wav_header(RATE, len(utterance.data)) + utterance.data
        self._form = {"file": ("speech.wav", data, "audio/wav")}
        self._text: str | None = None

    async def ask(self, http: httpx.AsyncClient) -> str | None:
        answer = await http.post("/v1/transcribe", files=self._form)
        if answer.status_code != 200:
            return f"transcribe {answer.status_code}"
        text = str(answer.json()["text"])
        self._text = self._text or text
        return None if text == self._text != "" else "transcribe gave another text"
