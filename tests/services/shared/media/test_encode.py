import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.media.decode import decode_audio
from services.shared.media.encode import FileFormat, StreamEncoder

RATES = [8000, 16_000, 22_050, 24_000, 48_000]
RAW = {
    FileFormat.PCM: Encoding.PCM_S16LE,
    FileFormat.MULAW: Encoding.MULAW,
    FileFormat.ALAW: Encoding.ALAW,
}
MAGIC = {
    FileFormat.WAV: b"RIFF",
    FileFormat.FLAC: b"fLaC",
    FileFormat.MP3: b"\xff",
    FileFormat.OGG: b"OggS",
    FileFormat.OPUS: b"OggS",
}


def tone(rate: int, seconds: float = 1.0) -> Floats:
    times = np.arange(round(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def encoded(encoder: StreamEncoder, samples: Floats, chunk: int) -> list[bytes]:
    pushed = [
        encoder.push(samples[start : start + chunk]) for start in range(0, len(samples), chunk)
    ]
    return [*pushed, encoder.finish()]


def decoded(encoder: StreamEncoder, data: bytes) -> Floats:
    if encoding := RAW.get(encoder.format):
        return AudioFormat(encoding, encoder.sample_rate).decode(data)
    return decode_audio(data, sample_rate=encoder.sample_rate, max_duration_s=60)


@pytest.mark.parametrize("source_rate", [None, 16_000, 22_050])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("file_format", list(FileFormat))
def test_length_and_place_survive(
    file_format: FileFormat, rate: int, source_rate: int | None
) -> None:
    encoder = StreamEncoder(file_format, rate, source_rate=source_rate)
    source = source_rate or rate
    samples = np.concatenate([np.zeros(source // 2, np.float32), tone(source, 0.7123)])
    chunks = encoded(encoder, samples, source // 50)
    heard = decoded(encoder, b"".join(chunks))
    most = 0.020 if file_format is FileFormat.MP3 else 0.001
    assert abs(len(heard) / encoder.sample_rate - len(samples) / source) <= most
    onset = int((np.abs(heard) > 0.1).argmax()) / encoder.sample_rate
    assert abs(onset - 0.5) < 0.003
    middle = heard[round(0.7 * encoder.sample_rate) :][: encoder.sample_rate // 4]
    assert 0.19 < float(np.sqrt(np.mean(middle**2))) < 0.22
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(spectrum.argmax() * 4 - 440) <= 4


@pytest.mark.parametrize("rate", [22_050, 24_000, 44_100, 48_000])
def test_whatever_the_length_an_mp3_has_it_within_20_ms(rate: int) -> None:
    for milliseconds in range(1000, 1060, 3):
        encoder = StreamEncoder(FileFormat.MP3, rate)
        samples = tone(rate, milliseconds / 1000)
        heard = decoded(encoder, b"".join(encoded(encoder, samples, rate // 50)))
        beyond_s = (len(heard) - len(samples)) / rate
        assert -0.0062 <= beyond_s <= 0.020
        end = min(len(heard), len(samples)) - rate // 100
        assert np.abs(heard[end - rate // 100 : end]).max() > 0.2, "the end is all there"


@pytest.mark.parametrize("file_format", [FileFormat.WAV, FileFormat.FLAC, FileFormat.PCM])
def test_lossless_formats_lose_nothing(file_format: FileFormat) -> None:
    encoder = StreamEncoder(file_format, 24_000)
    steps = np.random.default_rng(0).integers(-32_768, 32_768, 5000)
    samples = (steps / 32_768).astype(np.float32)
    assert np.array_equal(decoded(encoder, b"".join(encoded(encoder, samples, 480))), samples)


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_bytes_come_early_and_the_header_once(file_format: FileFormat) -> None:
    encoder = StreamEncoder(file_format, 24_000)
    chunks = encoded(encoder, tone(24_000, 2.0), 240)
    heard_ms = [10 * (index + 1) for index, chunk in enumerate(chunks[:-1]) if chunk]
    assert heard_ms[0] <= 60
    assert max(np.diff(heard_ms)) <= 80  # MP3's header comes alone; later it is 50 at most
    data, magic = b"".join(chunks), MAGIC.get(file_format, b"")
    assert data.startswith(magic)
    if file_format in (FileFormat.WAV, FileFormat.FLAC):
        assert data.count(magic) == 1


@settings(max_examples=40)
@given(
    file_format=st.sampled_from(list(FileFormat)),
    lengths=st.lists(st.integers(0, 3000), max_size=8).filter(lambda lengths: sum(lengths) > 1),
)
def test_chunking_changes_nothing(file_format: FileFormat, lengths: list[int]) -> None:
    samples = tone(22_050, sum(lengths) / 22_050)
    whole = StreamEncoder(file_format, 16_000, source_rate=22_050)
    expected = decoded(whole, whole.push(samples) + whole.finish())
    cut = StreamEncoder(file_format, 16_000, source_rate=22_050)
    ends = [sum(lengths[:count]) for count in range(1, len(lengths))]
    data = b"".join(cut.push(part) for part in np.split(samples, ends)) + cut.finish()
    actual = decoded(cut, data)
    assert len(actual) == len(expected)
    assert np.allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_an_empty_stream_is_a_header(file_format: FileFormat) -> None:
    encoder = StreamEncoder(file_format, 24_000)
    assert encoder.push(np.zeros(0, np.float32)) == b""
    data = encoder.finish()
    assert data.startswith(MAGIC.get(file_format, b""))
    assert bool(data) == (file_format not in RAW)


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_samples_out_of_range_are_clipped(file_format: FileFormat) -> None:
    encoder = StreamEncoder(file_format, 24_000)
    samples = tone(24_000) * 10
    samples[100:200] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        heard = decoded(encoder, encoder.push(samples) + encoder.finish())
    assert np.all(np.isfinite(heard))
    assert float(np.abs(heard).max()) > 0.9


@pytest.mark.parametrize(
    ("file_format", "asked", "given"),
    [
        ("opus", 22_050, 24_000),
        ("ogg", 44_100, 48_000),
        ("opus", 8000, 8000),
        ("mp3", 8000, 22_050),
        ("mp3", 24_000, 24_000),
        ("flac", 22_050, 22_050),
        ("wav", 12_345, 12_345),
    ],
)
def test_rates_that_a_format_lacks(file_format: str, asked: int, given: int) -> None:
    assert StreamEncoder(file_format, asked).sample_rate == given


@pytest.mark.parametrize(
    ("file_format", "content_type"),
    [
        ("wav", "audio/wav"),
        ("flac", "audio/flac"),
        ("mp3", "audio/mpeg"),
        ("ogg", "audio/ogg; codecs=opus"),
        ("opus", "audio/ogg; codecs=opus"),
        ("pcm", "audio/pcm; rate=8000; channels=1"),
        ("mulaw", "audio/PCMU; rate=8000; channels=1"),
        ("alaw", "audio/PCMA; rate=8000; channels=1"),
    ],
)
def test_content_types(file_format: str, content_type: str) -> None:
    assert StreamEncoder(file_format, 8000).content_type == content_type


def test_unknown_format_lists_the_known() -> None:
    with pytest.raises(ValueError, match='"wma" is none of wav, flac, mp3, ogg'):
        StreamEncoder("wma", 16_000)


@pytest.mark.parametrize("sample_rate", [0, 7999, 96_000])
def test_rate_out_of_range(sample_rate: int) -> None:
    with pytest.raises(ValueError, match=f"sample_rate {sample_rate}"):
        StreamEncoder("wav", sample_rate)
