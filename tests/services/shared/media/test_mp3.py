import av
import numpy as np
import pytest

from services.shared.media.decode import decode_audio
from services.shared.media.mp3 import RATES, Mp3Frames, gapless_header


@pytest.mark.parametrize("rate", RATES)
def test_header_is_one_frame_with_the_length_it_claims(rate: int) -> None:
    """Decoders find the next frame by the length that follows from the header."""
    parser = av.CodecContext.create("mp3", "r")
    header = gapless_header(rate)
    packets = parser.parse(header * 3) + parser.parse(b"")
    assert [packet.size for packet in packets] == [len(header)] * 3


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("extra", [0, 1, 100, 530, 575])
def test_starts_exactly_and_ends_soon(rate: int, extra: int) -> None:
    samples = np.zeros(rate + extra, np.float32)
    samples[rate // 2] = 0.9
    encoder = Mp3Frames(rate)
    heard = decode_audio(
        encoder.push(samples) + encoder.finish(), sample_rate=rate, max_duration_s=3
    )
    assert int(np.abs(heard).argmax()) == rate // 2
    assert -0.0065 * rate <= len(heard) - len(samples) <= 0.0205 * rate
