"""Opus packets out of a live WebM stream, as a browser's MediaRecorder makes it.

Own code, where FFmpeg's demuxer would serve, because that one pulls: it would need a thread for
every caller that blocks in `read`, and it withholds audio while it probes. Of EBML (RFC 8794) and
Matroska (RFC 9559) a live stream needs little: masters are entered, not tracked, because their
children delimit themselves; so clusters of unknown size and a second recording in the same stream
need no care.
"""

from dataclasses import dataclass

from services.shared.media.decode import UnreadableAudio

_EBML = 0x1A45DFA3
_TRACK_ENTRY, _TRACK_NUMBER, _CODEC_ID, _CODEC_PRIVATE = 0xAE, 0xD7, 0x86, 0x63A2
_SIMPLE_BLOCK, _BLOCK = 0xA3, 0xA1
_SEGMENT, _TRACKS, _CLUSTER, _BLOCK_GROUP = 0x18538067, 0x1654AE6B, 0x1F43B675, 0xA0

_ENTERED = {_SEGMENT, _TRACKS, _TRACK_ENTRY, _CLUSTER, _BLOCK_GROUP}
_READ = {_TRACK_NUMBER, _CODEC_ID, _CODEC_PRIVATE, _SIMPLE_BLOCK, _BLOCK}

_MAX_READ = 1 << 16
"""Bytes of an element that is read whole: an Opus packet has at most 61,440 (RFC 7845 §6)."""
_MAX_TRACKS = 64
_MAX_SKIPPED = 1 << 20
"""Bytes of any other element: a larger one would swallow the rest of the stream unheard."""


@dataclass(slots=True)
class _Track:
    number: int = 0
    codec: str = ""
    private: bytes = b""


class WebmPackets:
    """Bytes of a WebM stream in any chunking → the packets of its first Opus track."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._to_skip = 0
        self._started = False
        self._tracks: list[_Track] = []
        self._packets: list[bytes] = []

    @property
    def pre_skip(self) -> int:
        """Samples at 48 kHz that the encoder put before the audio (RFC 7845 §5.1)."""
        head = next((track.private for track in self._tracks if track.codec == "A_OPUS"), b"")
        return int.from_bytes(head[10:12], "little") if head.startswith(b"OpusHead") else 0

    def push(self, data: bytes) -> list[bytes]:
        """The packets that are complete.

        Raises:
            UnreadableAudio: this is no WebM, or its audio is not Opus.
        """
        self._buffer += data
        position = 0
        while (after := self._element(position)) is not None:
            position = after
        del self._buffer[:position]
        packets, self._packets = self._packets, []
        return packets

    def _element(self, start: int) -> int | None:
        """Take one element, or a master's head; where the next begins, None to wait for more."""
        if self._to_skip:
            taken = min(self._to_skip, len(self._buffer) - start)
            self._to_skip -= taken
            return start + taken if taken else None
        head = self._head(start)
        if head is None:
            return None
        identifier, size, body = head
        if identifier in _ENTERED:
            if identifier == _TRACK_ENTRY:
                if len(self._tracks) == _MAX_TRACKS:
                    raise UnreadableAudio(f"the WebM stream has more than {_MAX_TRACKS} tracks")
                self._tracks.append(_Track())
            return body
        if identifier not in _READ:
            self._skip(identifier, size)
            return body
        if size is None or size > _MAX_READ:
            raise UnreadableAudio(f"the WebM stream is damaged (element {identifier:#x})")
        if len(self._buffer) < body + size:
            return None
        self._take(identifier, bytes(self._buffer[body : body + size]))
        return body + size

    def _head(self, start: int) -> tuple[int, int | None, int] | None:
        """Identifier, size (None: unknown) and start of the body of the element at `start`."""
        identifier = self._vint(start, longest=4)
        if identifier is None:
            return None
        if not self._started and identifier[0] != _EBML:
            raise UnreadableAudio("the stream does not begin with a WebM header")
        self._started = True
        size = self._vint(identifier[1], longest=8)
        if size is None:
            return None
        bits = 7 * (size[1] - identifier[1])
        value = size[0] & ((1 << bits) - 1)
        return identifier[0], None if value == (1 << bits) - 1 else value, size[1]

    def _vint(self, start: int, longest: int) -> tuple[int, int] | None:
        """The number at `start`, its length marker included, and where it ends."""
        if start >= len(self._buffer):
            return None
        length = 9 - self._buffer[start].bit_length()
        if length > longest:
            raise UnreadableAudio(
                "the WebM stream is damaged"
                if self._started
                else "the stream does not begin with a WebM header"
            )
        if start + length > len(self._buffer):
            return None
        return int.from_bytes(self._buffer[start : start + length], "big"), start + length

    def _skip(self, identifier: int, size: int | None) -> None:
        if size is None or size > _MAX_SKIPPED:
            raise UnreadableAudio(f"the WebM stream is damaged (element {identifier:#x})")
        if identifier == _EBML:  # a recording begins, perhaps not the first
            self._tracks.clear()
        self._to_skip = size

    def _take(self, identifier: int, body: bytes) -> None:
        if identifier in (_SIMPLE_BLOCK, _BLOCK):
            self._take_block(body)
        elif self._tracks:
            track = self._tracks[-1]
            if identifier == _TRACK_NUMBER:
                track.number = int.from_bytes(body, "big")
            elif identifier == _CODEC_ID:
                track.codec = body.decode("ascii", "replace").rstrip("\0")
            else:
                track.private = body

    def _take_block(self, body: bytes) -> None:
        wanted = next((track.number for track in self._tracks if track.codec == "A_OPUS"), None)
        if wanted is None:
            codecs = ", ".join(track.codec for track in self._tracks) or "none"
            raise UnreadableAudio(f"the WebM stream has no Opus track (codecs: {codecs})")
        length = 9 - body[0].bit_length() if body else 9
        if length > 8 or len(body) < length + 4:
            raise UnreadableAudio("the WebM stream is damaged (a block is cut short)")
        number = int.from_bytes(body[:length], "big") & ((1 << 7 * length) - 1)
        if number != wanted:
            return
        if body[length + 2] & 0x06:
            raise UnreadableAudio("the WebM stream has laced blocks, which are not supported")
        self._packets.append(body[length + 3 :])
