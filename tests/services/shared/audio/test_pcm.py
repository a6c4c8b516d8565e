import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.audio.pcm import AudioFormat, Encoding, sanitised, to_int16

S16 = AudioFormat(Encoding.PCM_S16LE, 16_000)
F32 = AudioFormat(Encoding.PCM_F32LE, 16_000)
MULAW = AudioFormat(Encoding.MULAW, 8000)
ALAW = AudioFormat(Encoding.ALAW, 8000)
EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32_768, 32_768, dtype=np.int32)


def as_int16(audio_format: AudioFormat, data: bytes) -> list[int]:
    return [int(value) for value in np.rint(audio_format.decode(data) * 32_768)]


@pytest.mark.parametrize(
    ("encoding", "channels", "frame_bytes"),
    [
        ("pcm_s16le", 1, 2),
        ("pcm_s16le", 2, 4),
        ("pcm_f32le", 2, 8),
        ("mulaw", 1, 1),
        ("alaw", 2, 2),
    ],
)
def test_frame_bytes(encoding: str, channels: int, frame_bytes: int) -> None:
    audio_format = AudioFormat(Encoding(encoding), 8000, channels)
    assert audio_format.frame_bytes == frame_bytes
    assert audio_format.bytes_per_s == 8000 * frame_bytes


@pytest.mark.parametrize("sample_rate", [0, 7999, 48_001])
def test_sample_rate_out_of_range_is_named(sample_rate: int) -> None:
    with pytest.raises(ValueError, match=f"sample_rate {sample_rate} .* 8000…48000"):
        AudioFormat(Encoding.PCM_S16LE, sample_rate)


@pytest.mark.parametrize("channels", [0, 3])
def test_channels_out_of_range_are_named(channels: int) -> None:
    with pytest.raises(ValueError, match=f"channels {channels} "):
        AudioFormat(Encoding.PCM_S16LE, 8000, channels)


def test_s16_known_bytes() -> None:
    assert S16.decode(b"\x00\x00\x00\x40\x00\x80\xff\x7f").tolist() == [
        0.0,
        0.5,
        -1.0,
        32_767 / 32_768,
    ]
    assert S16.encode(np.array([0.0, 0.5, -1.0, 1.0], np.float32)) == (
        b"\x00\x00\x00\x40\x00\x80\xff\x7f"
    )


def test_int16_is_rounded_to_the_nearest_and_clipped() -> None:
    steps = np.array([0.4, 0.6, -0.4, -0.6, 32_767.4, 40_000, -40_000], np.float32)
    assert to_int16(steps / np.float32(32_768)).tolist() == [0, 1, 0, -1, 32_767, 32_767, -32_768]


def test_every_int16_survives() -> None:
    data = EVERY_SAMPLE.astype("<i2").tobytes()
    assert S16.encode(S16.decode(data)) == data


def test_floats_that_are_no_numbers_become_silence() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 2.0, -2.0, 0.25], np.float32)
    tame = [0.0, 0.0, 0.0, 1.0, -1.0, 0.25]
    assert sanitised(wild).tolist() == tame
    assert F32.decode(wild.astype("<f4").tobytes()).tolist() == tame
    assert F32.decode(F32.encode(wild)).tolist() == tame
    assert as_int16(S16, S16.encode(wild)) == [0, 0, 0, 32_767, -32_768, 8192]


@given(st.binary(max_size=64))
def test_any_bytes_as_f32_are_in_range(data: bytes) -> None:
    samples = F32.decode(data[: len(data) // 4 * 4])
    assert samples.dtype == np.float32
    assert np.all(np.abs(samples) <= 1)


# Decoder output values of ITU-T G.711, tables 1a to 2b, in 16 bits.
@pytest.mark.parametrize(
    ("code", "value"),
    [(0xFF, 0), (0x7F, 0), (0xFE, 8), (0xEF, 132), (0xDF, 396), (0x80, 32_124), (0x00, -32_124)],
)
def test_mulaw_known_values(code: int, value: int) -> None:
    assert as_int16(MULAW, bytes([code])) == [value]


@pytest.mark.parametrize(
    ("code", "value"),
    [(0xD5, 8), (0x55, -8), (0xD4, 24), (0xC5, 264), (0xF5, 528), (0xAA, 32_256), (0x2A, -32_256)],
)
def test_alaw_known_values(code: int, value: int) -> None:
    assert as_int16(ALAW, bytes([code])) == [value]


def test_mulaw_decision_values() -> None:
    """In 14 bits: steps of 2 from 1 on, of 4 from 31 on (G.711, table 2a)."""
    linear = np.array([0, 1, 2, 3, 30, 31, 34, 35, 8158, 8191], np.float32) * np.float32(4 / 32_768)
    assert list(MULAW.encode(linear)) == [255, 254, 254, 253, 240, 239, 239, 238, 128, 128]


def test_alaw_decision_values() -> None:
    """In 12 bits: steps of 1 up to 32, of 2 up to 64, … (G.711, table 1a)."""
    linear = np.array([0, 1, 31, 32, 33, 34, 2047], np.float32) * np.float32(16 / 32_768)
    codes = [code ^ 0x55 for code in ALAW.encode(linear)]
    assert codes == [0x80, 0x81, 0x9F, 0xA0, 0xA0, 0xA1, 0xFF]


def test_silence_is_the_positive_zero() -> None:
    silence = np.zeros(2, np.float32)
    assert MULAW.encode(silence) == b"\xff\xff"
    assert ALAW.encode(silence) == b"\xd5\xd5"


def test_every_code_survives() -> None:
    assert ALAW.encode(ALAW.decode(EVERY_CODE)) == EVERY_CODE
    # µ-law has two zeros; the negative one comes back as the positive one.
    assert MULAW.encode(MULAW.decode(EVERY_CODE)) == EVERY_CODE.replace(b"\x7f", b"\xff")


@pytest.mark.parametrize("law", [MULAW, ALAW])
def test_companding_is_symmetric_monotonic_and_close(law: AudioFormat) -> None:
    heard = np.array(as_int16(law, law.encode((EVERY_SAMPLE / 32_768).astype(np.float32))))
    assert np.all(np.diff(heard) >= 0)
    assert np.array_equal(heard, -heard[::-1])  # -1 is the mirror image of 0
    unclipped = np.abs(EVERY_SAMPLE) < 32_000
    error = np.abs(heard - EVERY_SAMPLE)[unclipped]
    assert np.all(error <= 8 + np.abs(EVERY_SAMPLE)[unclipped] / 31)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_stereo_is_mixed_down_and_doubled(encoding: Encoding) -> None:
    mono, stereo = AudioFormat(encoding, 8000), AudioFormat(encoding, 8000, 2)
    samples = np.array([0.5, -0.25, 0.125], np.float32)
    left_only = mono.encode(np.array([0.5, 0.0], np.float32))
    # Interleaved bytes of left 0.5, right 0: their mean is one frame.
    assert abs(float(stereo.decode(left_only)[0]) - 0.25) < 0.01
    assert np.allclose(stereo.decode(stereo.encode(samples)), mono.decode(mono.encode(samples)))


@pytest.mark.parametrize("encoding", list(Encoding))
def test_nothing_is_nothing(encoding: Encoding) -> None:
    audio_format = AudioFormat(encoding, 8000, 2)
    assert audio_format.decode(b"").shape == (0,)
    assert audio_format.encode(np.zeros(0, np.float32)) == b""


@pytest.mark.parametrize(
    ("audio_format", "data"), [(S16, b"abc"), (AudioFormat(Encoding.MULAW, 8000, 2), b"abc")]
)
def test_half_a_frame_is_refused(audio_format: AudioFormat, data: bytes) -> None:
    with pytest.raises(ValueError):
        audio_format.decode(data)
