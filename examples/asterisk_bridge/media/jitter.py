"""Packets in the order in which they were spoken, holes filled with silence. Sans-I/O.

The audio goes to a recogniser, not to an ear: what is in order leaves at once, only a hole waits,
for as long as a late packet may take. So a healthy network costs no latency at all.
"""

from examples.asterisk_bridge.media.rtp_packets import RtpPacket

_LONGEST_FILL = 25
"""Frames; a longer hole is a stream that begins anew."""
_MOST_HELD = 50
"""Packets that wait for the one before them."""


class JitterBuffer:
    """One source at a time; a new source or a jump in the numbers begins anew.

    Args:
        gap_s: how long a missing packet is waited for.
        silence: what a lost packet becomes: a frame of it.
    """

    def __init__(self, gap_s: float, silence: bytes) -> None:
        self._gap_s = gap_s
        self._silence = silence
        self._held: dict[int, tuple[float, bytes]] = {}
        """By extended sequence number: arrival, payload."""
        self._next: int | None = None
        """Extended sequence number of the packet that is due."""
        self._ssrc: int | None = None
        self.lost = 0
        self.late = 0
        """Came after its place had been filled, or twice."""
        self.restarts = 0

    def push(self, packet: RtpPacket, now: float) -> list[bytes]:
        """A packet came.

        Returns:
            payloads that are in order now.
        """
        ready: list[bytes] = []
        if packet.ssrc != self._ssrc or self._next is None:
            ready += self._restart(packet)
        assert self._next is not None
        number = self._extended(packet.sequence)
        if abs(number - self._next) > _MOST_HELD:
            ready += self._restart(packet)
            number = self._next
        if number < self._next or number in self._held:
            self.late += 1
            return ready
        self._held[number] = (now, packet.payload)
        return ready + self._in_order()

    def due(self, now: float) -> list[bytes]:
        """Payloads that need not wait any longer, with silence in place of what is missing."""
        ready: list[bytes] = []
        while self._held and self._next is not None:
            first = min(self._held)
            if now - self._held[first][0] < self._gap_s:
                break
            missing = first - self._next
            self.lost += missing
            ready += [self._silence] * min(missing, _LONGEST_FILL)
            self._next = first
            ready += self._in_order()
        return ready

    @property
    def is_waiting(self) -> bool:
        return bool(self._held)

    def _in_order(self) -> list[bytes]:
        ready = []
        assert self._next is not None
        while self._next in self._held:
            ready.append(self._held.pop(self._next)[1])
            self._next += 1
        return ready

    def _restart(self, packet: RtpPacket) -> list[bytes]:
        """Begin with this packet; what was held of the old stream leaves first."""
        left = [self._held[number][1] for number in sorted(self._held)]
        if self._ssrc is not None:
            self.restarts += 1
        self._held.clear()
        self._ssrc = packet.ssrc
        self._next = packet.sequence
        return left

    def _extended(self, sequence: int) -> int:
        """16 bits as the number nearest to the one that is due."""
        assert self._next is not None
        ahead = (sequence - self._next) & 0xFFFF
        return self._next + (ahead - 0x10000 if ahead >= 0x8000 else ahead)
