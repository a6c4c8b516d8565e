"""Callers' lines and what is said on them."""

import numpy as np
import pytest

from services.bench.cluster.fingerprints import RATE, SOUND
from services.bench.cluster.speech import (
    FRAME,
    FRAME_BYTES,
    Microphone,
    Utterance,
    name_of,
    repertoire,
    reply_to,
    usable,
)
from services.bench.corpus import CorpusError, Recording
from services.shared.audio.pcm import Floats


def sound(seconds: float, hertz: float = 500) -> Floats:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(
        np.float32
    )


def silence(seconds: float) -> Floats:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def recording(*pieces: Floats) -> Recording:
    samples = np.concatenate(pieces)
    return Recording("it", samples, "some words", "en", 0.0, len(samples) / RATE)


def test_recordings_with_a_long_pause_are_left_out() -> None:
    good = recording(silence(0.5), sound(1), silence(0.3), sound(1), silence(0.5))
    bad = recording(sound(1), silence(0.8), sound(1))
    assert usable([bad, good]) == [good]


def test_without_any_usable_recording_there_is_no_benchmark() -> None:
    with pytest.raises(CorpusError, match="without a pause"):
        usable([recording(silence(1)), recording(sound(1), silence(1), sound(1))])


def test_callers_say_the_same_in_their_own_way() -> None:
    source = [recording(silence(0.7), sound(1.5), silence(0.7))]
    mine, yours = (repertoire(source, caller, 1)[0] for caller in (1, 2))
    assert mine.data != yours.data
    assert len(mine.data) % FRAME_BYTES == 0
    begins, ends = mine.speech_ms
    assert begins < 200
    assert 1300 < ends - begins < 1700
    assert repertoire(source, 1, 1)[0].data == mine.data


def test_the_line_remembers_what_it_sent() -> None:
    line = Microphone(3)
    said = Utterance("it", "", SOUND.encode(sound(0.5)), (0.0, 500.0))
    sent = b"".join(line.frame() for _ in range(60))
    line.say(said)
    assert line.speaking
    sent += b"".join(line.frame() for _ in range(40))
    assert not line.speaking
    assert line.speech_ms() == (1200.0, 1700.0)
    expected = SOUND.decode(sent)
    for start, end in (
        (0, 100),
        (59 * FRAME, 61 * FRAME),
        (19_000, 28_000),
        (100 * FRAME - 5,) * 2,
    ):
        assert np.array_equal(line.samples(start, end), expected[start:end])


def test_a_new_session_begins_at_its_first_sample() -> None:
    line = Microphone(3)
    first = line.frame()
    line.say(Utterance("it", "", SOUND.encode(sound(0.5)), (0.0, 500.0)))
    line.frame()
    line.restart()
    assert not line.speaking
    assert line.frame() == first


def test_every_reply_is_different() -> None:
    names = {name_of(caller, number) for caller in range(100) for number in range(100)}
    assert len(names) == 10_000
    beginning, rest = reply_to(3, 5)
    assert name_of(3, 5) in beginning
    assert rest.startswith(" ")
