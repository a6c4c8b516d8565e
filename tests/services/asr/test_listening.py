import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.listening import Ear, Heard, Hearing, Listener, check_audio
from services.asr.messages import Encoding, Start
from services.asr.vad.base import FRAME_SAMPLES, Floats
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.vad.energy import EnergyVad
from tests.services.asr.sounds import joined, opus_packets, pcm, silence, tone


class CountingVad(EnergyVad):
    """Tells how many frames its state has seen, and in what company."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.fails = False

    def probabilities(self, frames: Floats, states: list[Floats]) -> tuple[Floats, list[Floats]]:
        if self.fails:
            raise RuntimeError("no memory")
        self.batches.append(len(frames))
        probabilities, _ = super().probabilities(frames, states)
        return probabilities, [state + 1 for state in states]


def heard(result: Heard | Exception) -> Heard:
    assert isinstance(result, Heard), result
    return result


def listen(listener: Listener, ear: Ear, chunks: list[bytes], *, flush: bool = False) -> Heard:
    return heard(listener.hear([Hearing(ear, chunks, flush)])[0])


def test_frames_are_whole_until_a_flush() -> None:
    listener = Listener(EnergyVad())
    ear = listener.new_ear(Start())
    first = listen(listener, ear, [pcm(tone(400, 100))])
    assert len(first.samples) == 3 * FRAME_SAMPLES
    assert len(first.probabilities) == 3
    rest = listen(listener, ear, [], flush=True)
    assert len(rest.samples) == 1600 - 3 * FRAME_SAMPLES
    assert len(rest.probabilities) == 1
    assert (first.received_s, rest.received_s) == (0.1, 0.0)


def test_a_flush_tells_of_half_a_sample_and_forgets_it() -> None:
    listener = Listener(EnergyVad())
    ear = listener.new_ear(Start())
    assert listen(listener, ear, [b"\1\2\3"], flush=True).leftover_bytes == 1
    again = listen(listener, ear, [pcm(tone(400, 32))], flush=True)
    assert again.leftover_bytes == 0
    assert len(again.samples) == FRAME_SAMPLES


@given(st.lists(st.integers(1, 700), min_size=1, max_size=8), st.sampled_from([8000, 16_000]))
def test_chunking_changes_neither_samples_nor_probabilities(sizes: list[int], rate: int) -> None:
    data = pcm(joined(silence(70), tone(400, 150), silence(33)), "pcm_s16le", rate)
    listener = Listener(EnergyVad())
    start = Start(sample_rate=rate)
    whole = listen(listener, listener.new_ear(start), [data], flush=True)
    ear, at, parts, voices, turn = listener.new_ear(start), 0, [], [], 0
    while at < len(data):
        chunk = data[at : at + sizes[turn % len(sizes)]]
        got = listen(listener, ear, [chunk], flush=at + len(chunk) == len(data))
        parts.append(got.samples)
        voices += got.probabilities
        at, turn = at + len(chunk), turn + 1
    np.testing.assert_allclose(np.concatenate(parts), whole.samples, atol=1e-6)
    assert voices == whole.probabilities


def test_sessions_share_a_run_and_keep_their_state() -> None:
    vad = CountingVad()
    listener = Listener(vad)
    ears = [listener.new_ear(Start()) for _ in range(3)]
    sounds = [tone(400, 320), silence(96), tone(400, 32)]
    jobs = [Hearing(ear, [pcm(sound)]) for ear, sound in zip(ears, sounds, strict=True)]
    results = [heard(result) for result in listener.hear(jobs)]
    assert vad.batches == [3, 2, 2, *[1] * 7]
    assert [float(ear.state[0]) for ear in ears] == [10, 3, 1]
    assert [set(result.probabilities) for result in results] == [{1.0}, {0.0}, {1.0}]


def test_one_stream_s_garbage_is_no_other_s() -> None:
    listener = Listener(EnergyVad())
    good, bad = listener.new_ear(Start()), listener.new_ear(Start(encoding=Encoding.OPUS))
    jobs = [Hearing(bad, [b"\xff" * 9]), Hearing(good, [pcm(tone(400, 64))])]
    error, result = listener.hear(jobs)
    assert isinstance(error, ProtocolError)
    assert error.code is ErrorCode.UNREADABLE_AUDIO
    assert heard(result).probabilities == [1.0, 1.0]


def test_a_failing_vad_fails_its_batch_without_being_tried_again() -> None:
    """The chunks are in the decoders by then: a second try would hear them twice."""
    vad = CountingVad()
    vad.fails = True
    listener = Listener(vad)
    jobs = [Hearing(listener.new_ear(Start()), [pcm(tone(400, 64))]) for _ in range(2)]
    assert [type(result) for result in listener.hear(jobs)] == [RuntimeError, RuntimeError]


def test_opus_is_counted_by_what_it_decodes_to() -> None:
    listener = Listener(EnergyVad())
    ear = listener.new_ear(Start(encoding=Encoding.OPUS, sample_rate=48_000))
    result = listen(listener, ear, opus_packets(tone(400, 1000)), flush=True)
    assert 1.0 <= result.received_s <= 1.05
    assert result.received_s == len(result.samples) / 16_000
    ear.close()


NOTHING_FOR_120_MS = b"\x1b\x02"
"""An Opus packet of two frames of 60 ms, neither of which has a byte (RFC 6716 §3.2.5)."""


def test_kilobytes_that_hold_minutes_are_refused_and_harm_nobody_else() -> None:
    listener = Listener(EnergyVad())
    bomb = listener.new_ear(Start(encoding=Encoding.OPUS, sample_rate=48_000))
    fine = listener.new_ear(Start())
    assert len(listen(listener, bomb, [NOTHING_FOR_120_MS]).samples) > 1500
    refused, result = listener.hear(
        [Hearing(bomb, [NOTHING_FOR_120_MS] * 600), Hearing(fine, [pcm(tone(400, 64))])]
    )
    assert isinstance(refused, ProtocolError)
    assert refused.code is ErrorCode.UNREADABLE_AUDIO
    assert len(heard(result).probabilities) == 2


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_the_rates_of_opus(rate: int) -> None:
    check_audio(Start(encoding=Encoding.OPUS, sample_rate=rate))


@pytest.mark.parametrize("rate", [11_025, 22_050, 44_100])
def test_what_is_no_rate_of_opus(rate: int) -> None:
    check_audio(Start(encoding=Encoding.PCM_S16LE, sample_rate=rate))
    with pytest.raises(ProtocolError, match=f"sample_rate {rate}.*8000, 12000") as caught:
        check_audio(Start(encoding=Encoding.OPUS, sample_rate=rate))
    assert caught.value.code is ErrorCode.UNSUPPORTED_AUDIO
