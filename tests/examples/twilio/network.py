"""Twilio's side, played by tests over real HTTP and a real WebSocket: a caller, and the network.

Its messages have the form of Twilio's own documentation; it plays 20 ms at a time, by its clock.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from examples.asterisk_bridge.echo import tone
from examples.twilio.app import create_app
from examples.twilio.calls import TwilioCalls
from examples.twilio.config import TwilioConfig
from examples.twilio.messages import FORMAT
from examples.twilio.signature import signature
from examples.twilio.transport import LARGEST
from examples.voice_agent.http_server import listening
from examples.voice_agent.transport import Conversation
from services.shared.audio.pcm import Floats
from tests.examples.playing import next_frame

AUTH_TOKEN = "only-for-tests"
PUBLIC = "https://calls.example.com/voice"
STREAM = "wss://calls.example.com/voice/twilio/stream"
CALLER, CALLED = "+15550100", "+15550199"
_SIDS = itertools.count()
_FRAME = FORMAT.bytes_per_s // 50
_QUIET = b"\xff"


def config_for(**calls: Any) -> TwilioConfig:
    sections = {
        "server": {"port": 0, "public_url": PUBLIC},
        "account": {"auth_token": AUTH_TOKEN},
        "calls": {"drain_s": 0.2, "goodbye_s": 1.0, **calls},
    }
    return TwilioConfig.model_validate(sections)


class Network:
    """What Twilio knows: where our webhooks are, and how to sign."""

    def __init__(self, url: str, calls: TwilioCalls, http: httpx.AsyncClient) -> None:
        self.url = url
        self.calls = calls
        self._http = http

    async def ask(self, path: str, query: str = "", **form: str) -> Element:
        """A signed request; the answer is TwiML."""
        address = f"{PUBLIC}{path}{query}"
        sent = {"X-Twilio-Signature": signature(AUTH_TOKEN, address, form.items())}
        answer = await self._http.post(f"{self.url}{path}{query}", data=form, headers=sent)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/xml")
        return fromstring(answer.text)

    async def arrive(
        self, call_sid: str = "", query: str = "", caller: str = CALLER, called: str = CALLED
    ) -> tuple[str, Element]:
        """A call comes in: its id, and what we are told to do with it."""
        call_sid = call_sid or f"CA{next(_SIDS):032x}"
        form = {"CallSid": call_sid, "From": caller, "To": called, "CallStatus": "ringing"}
        return call_sid, await self.ask("/twilio/voice", query, **form)

    async def after(self, call_sid: str) -> Element:
        return await self.ask("/twilio/after", CallSid=call_sid, CallStatus="in-progress")

    def stream(self, *, signed: bool = True) -> connect:
        own = signature(AUTH_TOKEN, STREAM, ())
        headers = {"x-twilio-signature": own} if signed else {}
        address = f"{self.url.replace('http', 'ws')}/twilio/stream"
        return connect(address, additional_headers=headers, proxy=None)


def token_in(told: Element) -> str:
    """Of the stream that Twilio shall open."""
    stream = told.find("Connect/Stream")
    assert stream is not None, told
    assert stream.get("url") == STREAM
    (parameter,) = stream.findall("Parameter")
    assert parameter.get("name") == "token"
    return str(parameter.get("value"))


def connected() -> str:
    return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})


def start(call_sid: str, token: str, **differences: Any) -> str:
    told = {
        "accountSid": "AC" + "0" * 32,
        "streamSid": f"MZ{call_sid[2:]}",
        "callSid": call_sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": token},
        **differences,
    }
    return json.dumps(
        {"event": "start", "sequenceNumber": "1", "start": told, "streamSid": told["streamSid"]}
    )


class Caller:
    """A telephone behind Twilio; see :class:`tests.examples.call_conformance.Phone`."""

    rate = FORMAT.sample_rate

    def __init__(self, line: ClientConnection, call_sid: str) -> None:
        self.call_sid = call_sid
        self.stream_sid = f"MZ{call_sid[2:]}"
        self._line = line
        self._queue: deque[bytearray | str] = deque()
        self._speech = bytearray()
        self._played = bytearray()
        self._began = time.monotonic()
        self._sequence = itertools.count(2)
        self._chunk = itertools.count(1)
        self.answered_s: float | None = 0.0
        self.over = asyncio.Event()
        self.hung_up_by_us = False
        self.longest_queue_ms = 0.0

    @property
    def heard(self) -> Floats:
        return FORMAT.decode(bytes(self._played))

    def now_s(self) -> float:
        return time.monotonic() - self._began

    def speak(self, seconds: float, hertz: float) -> None:
        self._speech += tone(FORMAT, seconds, hertz)

    def say(self, audio: bytes) -> None:
        """µ-law, after what is being said."""
        self._speech += audio

    async def press(self, key: str) -> None:
        await self.send("dtmf", dtmf={"track": "inbound_track", "digit": key})

    async def hang_up(self) -> None:
        self.hung_up_by_us = True
        with contextlib.suppress(ConnectionClosed):
            await self.send("stop", stop={"accountSid": "AC" + "0" * 32, "callSid": self.call_sid})
        await self._line.close()

    async def send(self, event: str, **fields: Any) -> None:
        sequence = str(next(self._sequence))
        message = {"event": event, "sequenceNumber": sequence, "streamSid": self.stream_sid}
        await self._line.send(json.dumps({**message, **fields}))

    async def listen(self) -> None:
        try:
            async for message in self._line:
                await self._told(json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            self.over.set()

    async def _told(self, message: dict[str, Any]) -> None:
        assert message.pop("streamSid") == self.stream_sid
        match message:
            case {"event": "media", "media": {"payload": payload}}:
                self._queue.append(bytearray(base64.b64decode(payload, validate=True)))
            case {"event": "mark", "mark": {"name": name}}:
                self._queue.append(name)
            case {"event": "clear"}:
                marks = [each for each in self._queue if isinstance(each, str)]
                self._queue.clear()
                for name in marks:
                    await self.send("mark", mark={"name": name})
            case _:
                raise AssertionError(f"Twilio knows no {message}")
        waiting = sum(len(each) for each in self._queue if not isinstance(each, str))
        self.longest_queue_ms = max(self.longest_queue_ms, waiting * 1000 / FORMAT.bytes_per_s)

    async def play(self) -> None:
        frames = 0
        while not self.over.is_set():
            frames += 1
            await asyncio.sleep(self._began + frames * 0.02 - time.monotonic())
            try:
                await self._play_frame(frames)
            except ConnectionClosed:
                return

    async def _play_frame(self, number: int) -> None:
        frame, marks = next_frame(self._queue, _FRAME)
        self._played += frame.ljust(_FRAME, _QUIET)
        for name in marks:
            await self.send("mark", mark={"name": name})
        said = bytes(self._speech[:_FRAME])
        del self._speech[:_FRAME]
        payload = base64.b64encode(said.ljust(_FRAME, _QUIET)).decode()
        chunk = {"track": "inbound", "chunk": str(next(self._chunk))}
        await self.send("media", media={**chunk, "timestamp": str(number * 20), "payload": payload})


@asynccontextmanager
async def running(
    converse: Conversation,
    config: TwilioConfig | None = None,
    late_s: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Network]:
    """Our server, as the program runs it."""
    config = config or config_for()
    calls = TwilioCalls(config, converse, late_s)
    app = create_app(config, calls)
    async with (
        listening(app, "127.0.0.1", 0, ws_max_size=LARGEST) as url,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        try:
            yield Network(url, calls, http)
        finally:
            await calls.drain()


@asynccontextmanager
async def calling(
    network: Network, query: str = "", caller: str = CALLER, called: str = CALLED
) -> AsyncIterator[Caller]:
    """A call that is accepted, until either side has hung up."""
    call_sid, told = await network.arrive(query=query, caller=caller, called=called)
    async with network.stream() as line:
        await line.send(connected())
        await line.send(start(call_sid, token_in(told)))
        phone = Caller(line, call_sid)
        tasks = [asyncio.create_task(work) for work in (phone.listen(), phone.play())]
        try:
            yield phone
            if not phone.over.is_set():
                await phone.hang_up()
        finally:
            await line.close()
            done, _ = await asyncio.wait(tasks)
            for task in done:
                task.result()
