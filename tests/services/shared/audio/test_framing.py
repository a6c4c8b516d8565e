import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.audio.framing import ByteAligner, Framer


@given(chunks=st.lists(st.binary(max_size=9)), frame_bytes=st.sampled_from([1, 2, 4, 8]))
def test_aligner_gives_whole_frames_and_loses_nothing(
    chunks: list[bytes], frame_bytes: int
) -> None:
    aligner = ByteAligner(frame_bytes)
    whole = [aligner.push(chunk) for chunk in chunks]
    everything = b"".join(chunks)
    assert all(len(part) % frame_bytes == 0 for part in whole)
    assert aligner.pending == len(everything) % frame_bytes
    assert b"".join(whole) == everything[: len(everything) - aligner.pending]


def test_aligner_reports_half_a_sample_once() -> None:
    aligner = ByteAligner(2)
    assert aligner.push(b"abc") == b"ab"
    assert aligner.flush() == 1
    assert aligner.flush() == 0
    assert aligner.push(b"de") == b"de"


@given(lengths=st.lists(st.integers(0, 40)), size=st.integers(1, 16))
def test_framer_cuts_without_loss(lengths: list[int], size: int) -> None:
    samples = np.arange(sum(lengths), dtype=np.float32)
    framer = Framer(size)
    frames, start = [], 0
    for length in lengths:
        frames.append(framer.push(samples[start : start + length]))
        start += length
        assert framer.pending == start % size
    assert all(block.shape[1:] == (size,) for block in frames)
    tail = framer.flush()
    assert len(tail) < size
    assert np.array_equal(np.concatenate([*(b.ravel() for b in frames), tail]), samples)
    assert framer.flush().shape == (0,)


def test_framer_keeps_no_view_of_the_callers_array() -> None:
    framer = Framer(4)
    reused = np.ones(6, np.float32)
    framer.push(reused)
    reused[:] = 7
    assert framer.flush().tolist() == [1.0, 1.0]


def test_framer_needs_a_size() -> None:
    with pytest.raises(ValueError, match="0 samples"):
        Framer(0)
