import io
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.shared.audio.pcm import Floats
from services.shared.media.decode import AudioTooLong, UnreadableAudio, decode_audio
from services.shared.media.wav import wav_bytes

MakeFile = Callable[..., bytes]

KINDS = [
    ("wav", "pcm_s16le"),
    ("wav", "pcm_s24le"),
    ("wav", "pcm_f32le"),
    ("wav", "pcm_mulaw"),
    ("w64", "pcm_s16le"),
    ("flac", "flac"),
    ("mp3", "libmp3lame"),
    ("ogg", "libopus"),
    ("ogg", "vorbis"),
    ("ogg", "flac"),
    ("webm", "libopus"),
    ("ipod", "aac"),
    ("ipod", "alac"),
    ("mp4", "aac"),
    ("adts", "aac"),
    ("aiff", "pcm_s16be"),
    ("au", "pcm_mulaw"),
    ("caf", "pcm_s16le"),
]
STREAMABLE = [kind for kind in KINDS if kind[0] not in ("ipod", "mp4") and kind != ("ogg", "flac")]
"""Those whose first part can be read without the rest."""


def loudness(samples: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def pitch(samples: Floats, rate: int = 16_000) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


def surround(channels: int, rate: int = 16_000) -> bytes:
    """A WAV of 440 Hz on every channel, 300 ms."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate * 3 // 10) / rate)
    body = np.repeat((tone * 32_767).astype("<i2"), channels).tobytes()
    frame = 2 * channels
    head = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * frame, frame, 16)
    riff = b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVEfmt "
    return riff + head + b"data" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("channels", [7, 8, 9, 16, 64])
def test_surround_sound_is_mixed_down(channels: int) -> None:
    """With eight channels a frame's planes end where PyAV does not see it: it took the process."""
    samples = decode_audio(surround(channels), max_duration_s=1)
    assert len(samples) == pytest.approx(4800, abs=120)  # FFmpeg drops a packet's odd end
    assert pitch(samples) == pytest.approx(440, abs=5)
    assert loudness(samples) == pytest.approx(0.3 / 2**0.5, rel=0.03)


def test_more_channels_than_ffmpeg_converts_are_refused() -> None:
    with pytest.raises(UnreadableAudio):
        decode_audio(surround(65), max_duration_s=1)


@pytest.mark.parametrize(
    ("container", "codec", "channels"),
    [
        (*kind, channels)
        for kind in KINDS
        for channels in (1, 2)
        if (kind[1], channels) != ("vorbis", 1)  # FFmpeg's encoder knows stereo only
    ],
)
def test_common_formats(make_file: MakeFile, container: str, codec: str, channels: int) -> None:
    rate = 48_000 if codec == "vorbis" else 24_000
    data = make_file(container, codec, rate=rate, channels=channels)
    samples = decode_audio(data, max_duration_s=10)
    assert samples.dtype == np.float32
    assert abs(len(samples) - 16_000) < 1200  # raw AAC has no place for the encoder's delay
    assert abs(pitch(samples) - 440) < 2
    assert 0.19 < loudness(samples) < 0.22  # 0.3 / √2, stereo no louder


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 24_000])
@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 96_000])
def test_rates(make_file: MakeFile, rate: int, sample_rate: int) -> None:
    data = make_file("flac", "flac", rate=rate)
    samples = decode_audio(data, sample_rate=sample_rate, max_duration_s=10)
    assert len(samples) == sample_rate
    assert abs(pitch(samples, sample_rate) - 440) < 2


def test_sources(make_file: MakeFile, tmp_path: Path) -> None:
    data = make_file("wav", "pcm_s16le")
    path = tmp_path / "tone.wav"
    path.write_bytes(data)
    expected = decode_audio(data, max_duration_s=10)
    file = io.BytesIO(data)
    assert np.array_equal(decode_audio(path, max_duration_s=10), expected)
    assert np.array_equal(decode_audio(file, max_duration_s=10), expected)
    assert not file.closed
    with pytest.raises(FileNotFoundError):
        decode_audio(tmp_path / "none.wav", max_duration_s=10)


@pytest.mark.parametrize(("container", "codec"), STREAMABLE)
def test_cut_off_files_give_their_beginning(
    make_file: MakeFile, container: str, codec: str
) -> None:
    rate = 48_000 if codec == "vorbis" else 24_000
    data = make_file(
        container, codec, rate=rate, seconds=4.0, channels=2 if codec == "vorbis" else 1
    )
    samples = decode_audio(data[: len(data) // 2], max_duration_s=10)
    assert 0.8 * 16_000 < len(samples) < 3 * 16_000
    assert abs(pitch(samples) - 440) < 2


def test_damage_in_the_middle_costs_only_the_middle(make_file: MakeFile) -> None:
    data = bytearray(make_file("mp3", "libmp3lame", seconds=4.0))
    data[8000:8400] = b"\xff" * 400
    assert len(decode_audio(bytes(data), max_duration_s=10)) > 3.5 * 16_000


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"<html><body>502 Bad Gateway</body></html>" * 50,
        b"RIFF\x00\x00\x00\x00WAVE",
        b"OggS" + bytes(100),
        b"\x1a\x45\xdf\xa3" + bytes(100),
        b"fLaC\x00\x00\x00\x22" + bytes(34),
        np.random.default_rng(0).bytes(50_000),
    ],
    ids=["byte", "html", "wav-header", "ogg", "webm", "flac-header", "noise"],
)
def test_what_is_no_audio_is_said_so(data: bytes) -> None:
    with pytest.raises(UnreadableAudio, match="audio"):
        decode_audio(data, max_duration_s=10)


def test_empty_file() -> None:
    with pytest.raises(UnreadableAudio, match="empty"):
        decode_audio(b"", max_duration_s=10)


def test_file_without_samples() -> None:
    with pytest.raises(UnreadableAudio, match="no audio"):
        decode_audio(wav_bytes(np.zeros(0, np.float32), 16_000), max_duration_s=10)


def test_cut_off_header(make_file: MakeFile) -> None:
    with pytest.raises(UnreadableAudio):
        decode_audio(make_file("ipod", "aac")[:200], max_duration_s=10)


def test_absurd_sample_rate(make_file: MakeFile) -> None:
    data = bytearray(make_file("wav", "pcm_s16le"))
    data[24:28] = (1).to_bytes(4, "little")
    with pytest.raises(UnreadableAudio, match="1 Hz"):
        decode_audio(bytes(data), max_duration_s=10)


def test_samples_that_are_no_numbers(make_file: MakeFile) -> None:
    data = bytearray(make_file("wav", "pcm_f32le"))
    data[-4000:] = np.full(1000, np.nan, "<f4").tobytes()
    samples = decode_audio(bytes(data), max_duration_s=10)
    assert len(samples) == 16_000
    assert np.all(np.abs(samples) <= 1)


@pytest.mark.parametrize("limit_s", [0.5, 0.99])
def test_too_long(make_file: MakeFile, limit_s: float) -> None:
    with pytest.raises(AudioTooLong, match=f"{limit_s} s") as caught:
        decode_audio(make_file("flac", "flac"), max_duration_s=limit_s)
    assert caught.value.limit_s == limit_s


def test_exactly_long_enough(make_file: MakeFile) -> None:
    assert len(decode_audio(make_file("flac", "flac"), max_duration_s=1.0)) == 16_000


@pytest.mark.parametrize("claimed", [0, 2000, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_header_that_lies_about_the_length(claimed: int) -> None:
    """Neither is that much memory taken, nor more read than there is or is permitted."""
    body = bytes(32_000)
    wav = bytearray(wav_bytes(np.zeros(16_000, dtype=np.float32), 16_000))
    struct.pack_into("<I", wav, 4, claimed)
    struct.pack_into("<I", wav, 40, claimed)
    assert bytes(wav).endswith(body)
    tracemalloc.start()
    try:
        try:
            samples = decode_audio(bytes(wav), max_duration_s=1.0)
        except UnreadableAudio:
            assert claimed == 0
        else:
            assert len(samples) <= 16_000
        with suppress(UnreadableAudio, AudioTooLong):
            assert len(decode_audio(bytes(wav) + bytes(320_000), max_duration_s=2.0)) <= 32_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_header_that_lies_about_a_comment_takes_no_memory(tmp_path: Path) -> None:
    """In a process of its own, whose peak is this file's."""
    head = struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    comment = b"LIST" + struct.pack("<I", 0x3B00001A) + b"INFOISFT" + struct.pack("<I", 0x32000000)
    lying = b"RIFF" + struct.pack("<I", 10_000) + b"WAVEfmt " + head + comment + bytes(10_000)
    (tmp_path / "lying.wav").write_bytes(lying)
    tried = """
import pathlib, resource, sys
from services.shared.media.decode import UnreadableAudio, decode_audio
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_audio(pathlib.Path(sys.argv[1]), max_duration_s=60)
except UnreadableAudio:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    command = [sys.executable, "-c", tried, str(tmp_path / "lying.wav")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(told.stdout) < 100


def test_a_header_that_lies_about_the_rate_makes_no_hours_of_seconds() -> None:
    wav = bytearray(wav_bytes(np.zeros(160_000, dtype=np.float32), 16_000))
    struct.pack_into("<I", wav, 24, 4000)
    with pytest.raises(AudioTooLong):
        decode_audio(bytes(wav), max_duration_s=30)


@pytest.mark.slow
def test_an_hour_in_a_small_file_takes_no_memory(make_file: MakeFile) -> None:
    data = make_file("flac", "flac", rate=8000, seconds=3600.0)
    tracemalloc.start()
    try:
        with pytest.raises(AudioTooLong):
            decode_audio(data, max_duration_s=10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000  # ten seconds are 640 kB, an hour 230 MB


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "[playlist]\nFile1={path}\nNumberOfEntries=1\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        '<AdaptationSet mimeType="audio/webm"><Representation id="1" bandwidth="1">'
        "<BaseURL>{path}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    ],
    ids=["hls", "concat", "pls", "sdp", "dash"],
)
def test_an_upload_never_makes_us_open_something_else(
    make_file: MakeFile, tmp_path: Path, playlist: str
) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(make_file("wav", "pcm_s16le"))
    with pytest.raises(UnreadableAudio):
        decode_audio(playlist.format(path=secret).encode(), max_duration_s=10)


def test_ffmpeg_keeps_quiet(make_file: MakeFile, capfd: pytest.CaptureFixture[str]) -> None:
    broken = bytearray(make_file("mp3", "libmp3lame", seconds=2.0))
    broken[3000:4000] = b"\x55" * 1000
    decode_audio(bytes(broken), max_duration_s=10)
    with pytest.raises(UnreadableAudio):
        decode_audio(b"OggS" + bytes(1000), max_duration_s=10)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([kind for kind in KINDS if kind[1] != "vorbis"]),
    cut=st.floats(0, 1),
    hits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_decode_or_are_unreadable(
    make_file: MakeFile, kind: tuple[str, str], cut: float, hits: list[tuple[float, int]]
) -> None:
    data = bytearray(make_file(*kind, seconds=0.2))
    for place, value in hits:
        data[int(place * len(data))] = value
    try:
        samples = decode_audio(bytes(data[: int(cut * len(data))]), max_duration_s=2)
    except (UnreadableAudio, AudioTooLong):
        return
    assert 0 < len(samples) <= 32_000
    assert np.all(np.abs(samples) <= 1)
