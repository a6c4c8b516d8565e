"""A phone of our own: places a call over SIP/UDP, speaks and listens in PCMU, records both.

For tests and measurements on a trusted network: no registration, no SRTP.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable

from examples.asterisk_bridge.bench.recording import RATE, Recorder
from examples.asterisk_bridge.bench.sip_messages import (
    SipMessage,
    answer_to,
    parse_sip,
    proof_for,
    sdp_address,
    sdp_offer,
    uri_of,
)
from examples.asterisk_bridge.media.rtp_packets import RtpStream, parse
from examples.voice_agent.pacing import FrameClock

_FRAME = 160
_FRAME_S = 0.02
_SILENCE = b"\xff" * _FRAME
_EVENT_TYPE = 101
_KEYS = "0123456789*#ABCD"
_RETRY_S = 0.5
_RETRIES = 8
_BYE_S = 2.0


class CallFailed(Exception):
    """The call was not answered; the sentence has SIP's reason."""


class _Socket(asyncio.DatagramProtocol):
    """Datagrams to a callback."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data)


class PhoneCall:
    """One call. Made by :func:`dial`; times are seconds since the INVITE."""

    def __init__(
        self,
        server: tuple[str, int],
        number: str,
        longest_s: float,
        caller: str = "caller",
        password: str | None = None,
        host: str | None = None,
    ) -> None:
        self._server = server
        self._password = password
        self._own_host = host or ("127.0.0.1" if server[0].startswith("127.") else "0.0.0.0")
        self._number = number
        self._caller = caller
        self._began = time.monotonic()
        self._id = uuid.uuid4().hex
        self._tag = uuid.uuid4().hex[:8]
        self._sequence = 1
        self._branch = ""
        self._final: SipMessage | None = None
        self._sip: asyncio.DatagramTransport | None = None
        self._rtp: asyncio.DatagramTransport | None = None
        self._remote: tuple[str, int] | None = None
        self._stream = RtpStream(
            0,
            ssrc=random.getrandbits(32),
            sequence=random.getrandbits(16),
            timestamp=0,
        )
        self._playing: deque[bytes] = deque()
        self._silent = asyncio.Event()
        self._silent.set()
        self._place = 0
        self._speaker: asyncio.Task[None] | None = None
        self._progress = asyncio.Event()
        self._byes = asyncio.Event()
        self.over = asyncio.Event()
        """The other side hung up, or we did."""
        self.answered_s: float | None = None
        self.ended_s: float | None = None
        self.hung_up_by_us = False
        self.received = 0
        """RTP packets."""
        self.late_s = 0.0
        """By how much a packet of ours left too late, at worst."""
        self.recorder = Recorder(longest_s)

    def now_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def began_s(self) -> float:
        """`time.monotonic()` of the INVITE."""
        return self._began

    @property
    def next_frame_s(self) -> float:
        """Where in the recording what is played now will begin, if nothing is being said."""
        return self._place / RATE

    async def connect(self, timeout_s: float) -> None:
        """Dial until answered.

        Raises:
            CallFailed: refused, or nobody answers in time.
        """
        loop = asyncio.get_running_loop()
        self._sip, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._sip_received),
            local_addr=(self._own_host, 0),
            remote_addr=self._server,
        )
        self._rtp, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._rtp_received),
            local_addr=(self._host, 0),
        )
        self._began = time.monotonic()
        self._speaker = asyncio.create_task(self._speak(), name="phone-speak")
        try:
            async with asyncio.timeout(timeout_s):
                await self._invite()
        except TimeoutError:
            raise CallFailed(f"{self._number} does not answer") from None
        assert self._final is not None
        if self._final.status != 200:
            raise CallFailed(f"{self._number}: {self._final.reason}")

    def play(self, ulaw: bytes) -> None:
        """Say this, behind what is being said."""
        for start in range(0, len(ulaw), _FRAME):
            self._playing.append(ulaw[start : start + _FRAME].ljust(_FRAME, b"\xff"))
        self._silent.clear()

    async def played(self) -> float:
        """Until everything has been said; the time at which it had."""
        await self._silent.wait()
        return self.now_s()

    async def press(self, key: str, duration_ms: int = 100) -> None:
        """A key as telephone events (RFC 4733); the end is sent three times."""
        event = _KEYS.index(key)
        timestamp = self._stream.timestamp
        steps = max(1, duration_ms // 20)
        for step in range(1, steps + 3):
            duration = min(step, steps) * _FRAME
            ended = 0x80 if step >= steps else 0
            payload = bytes([event, ended | 10]) + duration.to_bytes(2, "big")
            first = step == 1
            self._send_rtp(self._stream.event(_EVENT_TYPE, payload, timestamp, first=first))
            await asyncio.sleep(_FRAME_S)

    async def hang_up(self) -> None:
        """BYE, or CANCEL while it rings; nothing when it is over."""
        if self.over.is_set():
            return
        self.hung_up_by_us = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BYE_S):
                if self._final is None and self._sip is not None:
                    await self._cancel()
                if self._final is not None and self._final.status == 200:
                    self._sequence += 1
                    self._send(self._request("BYE", uri_of(self._final.header("Contact"))))
                    self._end()
                    await self._byes.wait()
        self._end()

    async def _cancel(self) -> None:
        """The answer may have crossed it, so an answer is waited for."""
        self._send(self._request("CANCEL", self._uri))
        while self._final is None:
            self._progress.clear()
            await self._progress.wait()

    async def close(self) -> None:
        await self.hang_up()
        if self._speaker is not None:
            self._speaker.cancel()
            await asyncio.gather(self._speaker, return_exceptions=True)
        for transport in (self._sip, self._rtp):
            if transport is not None:
                transport.close()

    @property
    def _host(self) -> str:
        assert self._sip is not None
        return str(self._sip.get_extra_info("sockname")[0])

    @property
    def _at(self) -> str:
        return f"{self._server[0]}:{self._server[1]}"

    async def _invite(self) -> None:
        invite = self._offer()
        for _ in range(_RETRIES):
            self._send(invite)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_S):
                    await self._progress.wait()
                    break
        while self._final is None:
            self._progress.clear()
            await self._progress.wait()

    def _offer(self, *proof: tuple[str, str]) -> SipMessage:
        assert self._rtp is not None
        port = self._rtp.get_extra_info("sockname")[1]
        return self._request("INVITE", self._uri, sdp_offer(self._host, port), *proof)

    @property
    def _uri(self) -> str:
        return f"sip:{self._number}@{self._at}"

    def _request(
        self, method: str, uri: str, body: str = "", *proof: tuple[str, str]
    ) -> SipMessage:
        assert self._sip is not None
        host, port = self._sip.get_extra_info("sockname")[:2]
        if method not in ("ACK", "CANCEL"):
            self._branch = f"z9hG4bK{uuid.uuid4().hex[:16]}"
        to = f"<{self._uri}>"
        if self._final is not None:
            to = self._final.header("To")
        headers = [
            ("Via", f"SIP/2.0/UDP {host}:{port};branch={self._branch};rport"),
            ("Max-Forwards", "70"),
            ("From", f'"Caller" <sip:{self._caller}@{host}:{port}>;tag={self._tag}'),
            ("To", to),
            ("Call-ID", self._id),
            ("CSeq", f"{self._sequence} {method}"),
            ("Contact", f"<sip:{self._caller}@{host}:{port}>"),
            *proof,
        ]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        return SipMessage(f"{method} {uri} SIP/2.0", tuple(headers), body)

    def _send(self, message: SipMessage) -> None:
        if self._sip is not None and not self._sip.is_closing():
            self._sip.sendto(message.encode())

    def _sip_received(self, data: bytes) -> None:
        try:
            message = parse_sip(data)
        except ValueError:
            return
        if message.header("Call-ID") != self._id:
            return
        if message.status is None:
            self._asked(message)
        elif message.method == "INVITE":
            self._invite_answered(message)
        elif message.method == "BYE":
            self._byes.set()

    def _invite_answered(self, message: SipMessage) -> None:
        self._progress.set()
        self._remote = sdp_address(message.body) or self._remote
        status = message.status or 0
        if status < 200 or message.header("CSeq") != f"{self._sequence} INVITE":
            return
        first, self._final = self._final is None, message
        self._send(self._request("ACK", uri_of(message.header("Contact")) or self._uri))
        if status in (401, 407) and self._password is not None:
            self._prove(message, self._password)
            return
        if first and status == 200:
            self.answered_s = self.now_s()
        elif first:
            self._end()

    def _prove(self, refusal: SipMessage, password: str) -> None:
        """Who we are, once; a wrong password is refused for good."""
        self._password = self._final = None
        self._sequence += 1
        proof = proof_for(refusal, "INVITE", self._uri, self._caller, password)
        self._send(self._offer(proof))

    def _asked(self, request: SipMessage) -> None:
        """Of requests inside a call only its end means something to a phone as simple as this."""
        if request.method == "ACK":
            return
        if request.method == "INVITE":
            self._remote = sdp_address(request.body) or self._remote
            assert self._rtp is not None
            port = self._rtp.get_extra_info("sockname")[1]
            self._send(answer_to(request, "200 OK", sdp_offer(self._host, port)))
            return
        self._send(answer_to(request, "200 OK"))
        if request.method == "BYE":
            self._end()

    def _end(self) -> None:
        if not self.over.is_set():
            self.ended_s = self.now_s()
            self.over.set()

    async def _speak(self) -> None:
        clock = FrameClock(_FRAME_S, time.monotonic())
        while True:
            await asyncio.sleep(max(0.0, clock.next_at - time.monotonic()))
            self.late_s = max(self.late_s, time.monotonic() - clock.next_at)
            payload = self._playing.popleft() if self._playing else _SILENCE
            self._send_rtp(self._stream.packet(payload, _FRAME))
            self.recorder.sent(self._place, payload)
            if not self._playing:
                self._silent.set()
            skipped = clock.sent(time.monotonic())
            self._stream.skip(skipped * _FRAME)
            self._place += (1 + skipped) * _FRAME

    def _send_rtp(self, packet: bytes) -> None:
        if self._remote is not None and self._rtp is not None and not self.over.is_set():
            self._rtp.sendto(packet, self._remote)

    def _rtp_received(self, data: bytes) -> None:
        try:
            packet = parse(data)
        except ValueError:
            return
        if packet.payload_type == 0:
            self.received += 1
            self.recorder.heard(self._samples(self.now_s()), packet.timestamp, packet.payload)

    @staticmethod
    def _samples(seconds: float) -> int:
        return round(seconds * RATE)


@contextlib.asynccontextmanager
async def dial(
    server: tuple[str, int],
    number: str,
    *,
    timeout_s: float = 10.0,
    longest_s: float = 120.0,
    caller: str = "caller",
    password: str | None = None,
    host: str | None = None,
) -> AsyncIterator[PhoneCall]:
    """Call a number and be connected; leaving hangs up.

    Args:
        server: address of the SIP server.
        longest_s: so much is recorded.
        caller: the number that it calls from, and the account's name.
        password: of the account, when the server asks for it.
        host: our own address.

    Raises:
        CallFailed: not answered.
    """
    call = PhoneCall(server, number, longest_s, caller, password, host)
    try:
        await call.connect(timeout_s)
        yield call
    finally:
        await call.close()
