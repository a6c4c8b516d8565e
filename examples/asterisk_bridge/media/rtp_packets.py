"""RTP packets as bytes and back (RFC 3550, section 5.1). Sans-I/O."""

import struct
from dataclasses import dataclass, field

_HEADER = struct.Struct("!BBHII")
_VERSION = 2
_CSRC_BYTES = 4


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet; extensions and contributing sources are skipped in reading."""

    payload_type: int
    sequence: int
    """16 bits."""
    timestamp: int
    """32 bits, in samples."""
    ssrc: int
    payload: bytes = field(repr=False)
    marker: bool = False
    """First packet after a silence."""

    def encode(self) -> bytes:
        second = self.marker << 7 | self.payload_type
        header = _HEADER.pack(_VERSION << 6, second, self.sequence, self.timestamp, self.ssrc)
        return header + self.payload


def parse(data: bytes) -> RtpPacket:
    """One datagram.

    Raises:
        ValueError: not RTP, or cut off.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"{len(data)} bytes are no RTP packet")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != _VERSION:
        raise ValueError(f"RTP version {first >> 6}")
    start = _HEADER.size + _CSRC_BYTES * (first & 15)
    if first & 0x10:  # a header extension: its length in words follows two bytes of its own
        if len(data) < start + 4:
            raise ValueError("header extension cut off")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data)
    if first & 0x20:  # padding, whose last byte is its length
        end -= data[-1]
    if start > end:
        raise ValueError("longer header than packet")
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, data[start:end], bool(second >> 7))


class RtpStream:
    """Numbers of what we send: sequence by packet, timestamp by sample, one source.

    The numbers begin anywhere (RFC 3550, section 5.1), which the caller chooses at random.
    """

    def __init__(self, payload_type: int, *, ssrc: int, sequence: int, timestamp: int) -> None:
        self._payload_type = payload_type
        self._ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self._marker = True

    def packet(self, payload: bytes, samples: int) -> bytes:
        """The next packet, of `samples` samples."""
        made = RtpPacket(
            self._payload_type,
            self._sequence & 0xFFFF,
            self._timestamp & 0xFFFFFFFF,
            self._ssrc & 0xFFFFFFFF,
            payload,
            self._marker,
        )
        self._sequence += 1
        self._timestamp += samples
        self._marker = False
        return made.encode()

    def event(self, payload_type: int, payload: bytes, timestamp: int, *, first: bool) -> bytes:
        """A telephone event (RFC 4733) between the audio: its own time, the audio's numbers."""
        made = RtpPacket(
            payload_type,
            self._sequence & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            self._ssrc & 0xFFFFFFFF,
            payload,
            first,
        )
        self._sequence += 1
        return made.encode()

    @property
    def timestamp(self) -> int:
        """Of the next packet."""
        return self._timestamp & 0xFFFFFFFF

    def skip(self, samples: int) -> None:
        """Time passed in which nothing was sent."""
        if samples:
            self._timestamp += samples
            self._marker = True
