import threading
from collections.abc import Callable

import numpy as np
import pytest

from services.shared.audio.pcm import Floats
from services.shared.media.decode import UnreadableAudio, decode_audio
from services.shared.media.stream import OpusPackets, WebmStream

MakeFile = Callable[..., bytes]

LIVE = {"live": "1", "flush_packets": "1", "cluster_time_limit": "200"}
"""As from MediaRecorder: segment and clusters of unknown size, no index."""


def heard(stream: OpusPackets | WebmStream, chunks: list[bytes]) -> Floats:
    parts = [stream.push(chunk) for chunk in chunks]
    tail, leftover = stream.flush()
    stream.close()
    assert leftover == 0
    return np.concatenate([*parts, tail])


def pitch(samples: Floats) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * 16_000 / len(samples))


def test_opus_packets(opus_packets: list[bytes]) -> None:
    samples = heard(OpusPackets(48_000, 1), opus_packets)
    assert samples.dtype == np.float32
    assert len(samples) == 320 * len(opus_packets)
    assert abs(pitch(samples) - 440) < 2
    assert 0.19 < float(np.sqrt(np.mean(samples[3200:-3200] ** 2))) < 0.22


def test_opus_is_late_by_a_millisecond_at_most(opus_packets: list[bytes]) -> None:
    stream = OpusPackets()
    out = 0
    for number, packet in enumerate(opus_packets, 1):
        out += len(stream.push(packet))
        assert 320 * number - out <= 17


@pytest.mark.parametrize("data", [b"", b"\xff" * 3, bytes(70_000)], ids=["empty", "bad", "long"])
def test_a_bad_packet_is_refused_and_the_next_decoded(
    opus_packets: list[bytes], data: bytes
) -> None:
    stream = OpusPackets()
    with pytest.raises(UnreadableAudio, match=f"{len(data)} bytes is no Opus packet"):
        stream.push(data)
    assert len(heard(stream, opus_packets)) == 320 * len(opus_packets)


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (48_000, 3)])
def test_what_opus_cannot_be_is_refused(rate: int, channels: int) -> None:
    with pytest.raises(ValueError, match=str(rate)):
        OpusPackets(rate, channels)


def test_opus_goes_on_after_a_flush(opus_packets: list[bytes]) -> None:
    stream = OpusPackets()
    first = heard(stream, opus_packets[:20])
    second = heard(stream, opus_packets[20:])
    samples = np.concatenate([first, second])
    assert len(samples) == 320 * len(opus_packets)
    assert np.allclose(samples, heard(OpusPackets(), opus_packets), atol=0.1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("options", [{}, LIVE], ids=["file", "live"])
def test_webm_is_heard_like_the_file(
    make_file: MakeFile, options: dict[str, str], chunk: int, channels: int
) -> None:
    data = make_file("webm", "libopus", rate=48_000, channels=channels, options=options)
    chunks = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    samples = heard(WebmStream(), chunks)
    expected = decode_audio(data, max_duration_s=10)
    assert 0 <= len(samples) - len(expected) <= 320  # the encoder's padding of the last packet
    middle = slice(1600, 12_800)  # the file's resampler is sharper; onsets ring differently
    assert np.abs(samples[middle] - expected[middle]).max() < 0.01


def test_webm_gives_each_block_as_it_is_complete(make_file: MakeFile) -> None:
    data = make_file("webm", "libopus", rate=48_000, seconds=2.0, options=LIVE)
    stream = WebmStream()
    out, behind = 0, []
    for end in range(100, len(data), 100):
        out += len(stream.push(data[end - 100 : end]))
        behind.append(end / len(data) * 2.0 - out / 16_000)
    assert max(behind) < 0.1  # seconds, with the header's share of the bytes
    assert out > 1.9 * 16_000


def test_webm_goes_on_after_a_flush_and_with_a_second_recording(make_file: MakeFile) -> None:
    data = make_file("webm", "libopus", rate=48_000, options=LIVE)
    stream = WebmStream()
    once = heard(stream, [data[:3333]])
    rest = heard(stream, [data[3333:]])
    again = heard(stream, [data])
    assert abs(len(once) + len(rest) - 16_000) <= 320
    assert abs(len(again) - 16_000) <= 480


def test_streams_leave_no_thread(make_file: MakeFile) -> None:
    before = threading.active_count()
    stream = WebmStream()
    stream.push(make_file("webm", "libopus", rate=48_000)[:2000])
    with pytest.raises(UnreadableAudio):
        WebmStream().push(b"garbage")
    assert threading.active_count() == before


def test_webm_with_another_codec(make_file: MakeFile) -> None:
    data = make_file("webm", "vorbis", rate=48_000, channels=2)
    with pytest.raises(UnreadableAudio, match="no Opus track .*A_VORBIS"):
        WebmStream().push(data)
