"""The seam between a conversation and whatever carries it: a phone call, a browser, Twilio, SIP.

The conversation knows no more of a call than this; every transport passes the same conformance
tests.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from services.shared.audio.pcm import AudioFormat


@dataclass(frozen=True, slots=True)
class AudioIn:
    """Sound of the caller, in the transport's format, in the order in which it was spoken."""

    data: bytes = field(repr=False)
    at_s: float
    """`time.monotonic()` of its arrival."""


@dataclass(frozen=True, slots=True)
class MarkPlayed:
    """All audio that was sent before this mark has been played to the caller."""

    name: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Digit:
    """The caller pressed a key."""

    digit: str
    """One of 0-9, A-D, * and #."""
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class HungUp:
    """The call is over; the last event."""

    cause: str
    """As the network names it, e.g. "Normal Clearing"."""
    by_caller: bool


TransportEvent = AudioIn | MarkPlayed | Digit | HungUp


@dataclass(frozen=True, slots=True)
class CallInfo:
    """What is known of a call before anybody speaks."""

    call_id: str
    caller: str
    """Number or address of the caller, "" when withheld."""
    called: str
    """The number that was dialled."""
    variables: dict[str, str] = field(default_factory=dict)
    goes_on: bool = False
    """Somebody is behind us, e.g. a dial plan: see :meth:`CallTransport.give_back`."""


TRANSFERRED = "transferred"
GIVEN_BACK = "given back"
"""Causes of the end of a call that is no longer ours, but goes on."""


class TransportClosed(Exception):
    """The call is gone; nothing can be sent any more."""


class CallDeclined(Exception):
    """Raised by a conversation that nobody takes: the call goes on where it came from."""


class CallTransport(Protocol):
    """One call. Methods raise :class:`TransportClosed` once it is over; none waits without limit.

    Audio is played in the order in which it was sent, at the pace of the call. What was sent and
    not yet played is bounded: `send_audio` waits while there is too much of it.
    """

    @property
    def info(self) -> CallInfo: ...

    @property
    def audio_format(self) -> AudioFormat:
        """Of both directions."""
        ...

    def events(self) -> AsyncIterator[TransportEvent]:
        """What comes from the caller, until :class:`HungUp`. For one reader, which must not stop
        reading: audio that nobody takes is bounded, and the oldest is dropped and counted."""
        ...

    async def answer(self) -> None:
        """Pick up; sending audio before that is early media or nothing."""
        ...

    async def send_audio(self, data: bytes) -> None:
        """Play this after what was sent before: whole samples, any length."""
        ...

    async def mark(self, name: str) -> None:
        """Ask for :class:`MarkPlayed` once all that was sent before has been heard.

        Marks that a flush discards never come.
        """
        ...

    async def pause(self) -> None:
        """Fall silent now and keep what is left, for :meth:`resume` or :meth:`flush`."""
        ...

    async def resume(self) -> None:
        """Go on exactly where :meth:`pause` stopped."""
        ...

    async def flush(self) -> None:
        """Fall silent now and forget what is left, also a pause."""
        ...

    async def send_digits(self, digits: str) -> None:
        """Send DTMF to the other side."""
        ...

    async def transfer(self, target: str) -> None:
        """Blind transfer; the call leaves this transport, which then tells :class:`HungUp`.

        Args:
            target: an extension, or whatever the transport's dial plan understands.
        """
        ...

    async def give_back(self) -> None:
        """We cannot serve this call: let it go on where it came from. It leaves this transport,
        which then tells :class:`HungUp`. Without anybody there (`info.goes_on`) it ends."""
        ...

    async def hang_up(self, cause: str = "normal") -> None:
        """End the call."""
        ...


class Conversation(Protocol):
    """What talks to a caller: called once for each call, and over when it returns.

    A call that is still there then is hung up; after an exception it goes to the fallback. When the
    transport says :class:`HungUp` there are a few seconds left to put things in order.
    """

    async def __call__(self, transport: CallTransport, /) -> None: ...


@runtime_checkable
class NotesRefusals(Protocol):
    """A conversation that wants to know of the calls that it never gets."""

    def refused(self, info: CallInfo, reason: str, *, failed: bool = False) -> None:
        """Never waits.

        Args:
            reason: one of few words.
            failed: it could not be connected; else there was no room for it.
        """
        ...
