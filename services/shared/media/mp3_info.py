"""The info frame of an MP3 stream: one silent frame that tells players what to drop at the start.

An MP3 encoder delays its input, and the decoder adds its own delay; without the "Info" tag of LAME
(Gabriel Bouvigne, "MP3 info tag specifications", rev. 1) a player lets the listener hear both, up
to 145 ms at 8 kHz. Muxers write the tag when the file is finished; a stream needs it first.
"""

import struct

_MPEG1, _MPEG2, _MPEG25 = 3, 2, 0
_VERSIONS = {
    48_000: (_MPEG1, 1),
    44_100: (_MPEG1, 0),
    32_000: (_MPEG1, 2),
    24_000: (_MPEG2, 1),
    22_050: (_MPEG2, 0),
    16_000: (_MPEG2, 2),
    12_000: (_MPEG25, 1),
    11_025: (_MPEG25, 0),
    8_000: (_MPEG25, 2),
}
"""Version and rate index (ISO 11172-3, 13818-3 and the MPEG 2.5 extension)."""
_BITRATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_ENCODER_DELAY = 576
DELAY_SAMPLES = _ENCODER_DELAY + 529
"""What a player drops at the start: libmp3lame's delay and every decoder's."""


def info_frame(sample_rate: int, bits_per_s: int) -> bytes:
    """The frame to send before the encoder's own.

    Args:
        sample_rate: one of SAMPLE_RATES.
        bits_per_s: a bit rate of Layer III, the same as the encoder's.
    """
    version, rate_index = _VERSIONS[sample_rate]
    kilobits = bits_per_s // 1000
    table = _BITRATES_1 if version == _MPEG1 else _BITRATES_2
    header = 0xFFE00000  # sync
    header |= version << 19 | 1 << 17 | 1 << 16  # version, Layer III, no CRC
    header |= table.index(kilobits) << 12 | rate_index << 10 | 3 << 6  # mono
    side_info = bytes(17 if version == _MPEG1 else 9)
    body = struct.pack(">I", header) + side_info + b"Info" + struct.pack(">I", 0)
    body += _lame_tag(kilobits)
    body += struct.pack(">H", _crc16(body))
    size = (144 if version == _MPEG1 else 72) * bits_per_s // sample_rate
    return body.ljust(size, b"\0")


def _lame_tag(kilobits: int) -> bytes:
    """Everything but the closing CRC; only the delay matters, unknown values are 0."""
    delays = (_ENCODER_DELAY << 12).to_bytes(3, "big")  # 12 bits delay, 12 bits padding
    before = b"LAME3.100" + bytes(11) + bytes([min(255, kilobits)])
    return before + delays + bytes(10)


def _crc16(data: bytes) -> int:
    """CRC-16/ARC, as the tag wants it."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc
