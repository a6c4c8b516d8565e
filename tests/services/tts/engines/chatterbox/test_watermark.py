"""The watermark is in every stream, and nothing is spoken without it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from services.shared.media.decode import decode_audio
from services.tts.engines.base import EngineUnavailable, Floats

pytestmark = [
    pytest.mark.chatterbox,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]

RATE = 24_000


@pytest.fixture(scope="module")
def speech() -> Floats:
    data = (Path("tests/data/speech") / "jfk.flac").read_bytes()
    return decode_audio(data, sample_rate=RATE, max_duration_s=60)


def marked(watermarker: Any, audio: Floats, ends: list[int]) -> list[Floats]:
    from services.tts.engines.chatterbox.watermark import WatermarkStream

    stream = WatermarkStream(watermarker)
    return [stream.push(piece) for piece in np.split(audio, ends)]


def found(watermarker: Any, audio: Floats) -> float:
    """What the library's detector says: 1 is certain, 0 is certainly not."""
    rate = watermarker.perth_net.hp.sample_rate
    heard = soxr.resample(audio, RATE, rate)
    return float(watermarker.get_watermark(heard, sample_rate=rate, round=False))


@pytest.mark.parametrize(
    "ends",
    [[], [7680], [7680, 19_200, 42_240, 88_320], list(range(7680, 150_000, 7680))],
    ids=["at once", "two", "growing", "many"],
)
def test_the_detector_finds_it_in_the_joined_stream(
    watermarker: Any, speech: Floats, ends: list[int]
) -> None:
    pieces = marked(watermarker, speech, ends)
    assert [len(piece) for piece in pieces] == [len(piece) for piece in np.split(speech, ends)]
    audio = np.concatenate(pieces)
    assert found(watermarker, speech) < 0.3
    assert found(watermarker, audio) > 0.9


def test_it_is_found_in_a_short_piece(watermarker: Any, speech: Floats) -> None:
    [piece] = marked(watermarker, speech[RATE : RATE + RATE], [])
    assert found(watermarker, piece) > 0.9


def test_it_is_quiet_and_does_not_click(watermarker: Any, speech: Floats) -> None:
    ends = list(range(12_000, len(speech), 12_000))
    added = np.concatenate(marked(watermarker, speech, ends)) - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(added**2)) > 15
    steps = np.abs(np.diff(added))
    seams = max(steps[end - 2 : end + 2].max() for end in ends)
    assert seams <= steps.max() / 2


def test_silence_stays_silence(watermarker: Any) -> None:
    [piece] = marked(watermarker, np.zeros(RATE, dtype=np.float32), [])
    assert np.abs(piece).max() < 1e-4


def test_the_shortest_piece_keeps_its_length(watermarker: Any) -> None:
    assert [len(piece) for piece in marked(watermarker, np.zeros(481, np.float32), [480])] == [
        480,
        1,
    ]


def test_without_the_watermark_nothing_is_loaded(
    chatterbox_library: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import perth

    from services.tts.engines.chatterbox.models import ENGLISH, load_models
    from services.tts.engines.chatterbox.watermark import load_watermarker

    monkeypatch.setattr(perth, "PerthImplicitWatermarker", None)
    with pytest.raises(EngineUnavailable, match="setuptools"):
        load_watermarker()
    with pytest.raises(EngineUnavailable, match="watermark"):
        load_models(tmp_path, ENGLISH)
