"""What was heard lies where it was heard."""

import wave
from pathlib import Path

import numpy as np

from examples.asterisk_bridge.bench.recording import Recorder

LOUD = b"\x80" * 160
SILENT = b"\xff" * 160


def loud_places(samples: "np.typing.NDArray[np.float32]") -> list[int]:
    return [int(place) for place in np.flatnonzero(np.abs(samples) > 0.5)[::160]]


def test_jitter_does_not_move_what_was_heard() -> None:
    recorder = Recorder(2.0)
    for number, jitter in enumerate([0, 90, 200, 10]):
        recorder.heard(1000 + number * 160 + jitter, 5000 + number * 160, LOUD)
    assert loud_places(recorder.agent) == [1000, 1160, 1320, 1480]
    assert recorder.slips == 0


def test_a_stream_that_slips_is_heard_with_a_gap() -> None:
    recorder = Recorder(2.0)
    recorder.heard(1000, 0, LOUD)
    recorder.heard(1160 + 1600, 160, LOUD)
    recorder.heard(1320 + 1600, 320, LOUD)
    assert loud_places(recorder.agent) == [1000, 2760, 2920]
    assert recorder.slips == 1


def test_the_file_has_the_caller_left_and_the_agent_right(tmp_path: Path) -> None:
    recorder = Recorder(1.0)
    recorder.sent(0, LOUD)
    recorder.sent(160, SILENT)
    recorder.heard(160, 0, LOUD)
    recorder.write(tmp_path / "call.wav")
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 320)
        both = np.frombuffer(file.readframes(320), dtype="<i2").reshape(-1, 2)
    assert np.abs(both[:160, 0]).min() > 30_000 and not both[160:, 0].any()
    assert not both[:160, 1].any() and np.abs(both[160:, 1]).min() > 30_000


def test_what_is_longer_than_the_recording_is_cut_off() -> None:
    recorder = Recorder(0.01)
    recorder.sent(0, LOUD)
    recorder.heard(10_000, 0, LOUD)
    assert len(recorder.caller) == len(recorder.agent) == 80
