"""Whole frames out of any portions, and marks at their places."""

from hypothesis import given
from hypothesis import strategies as st

from examples.voice_agent.playout import Frame, PlayoutBuffer

FRAME = 8
SILENCE = b"\xff"


def drained(buffer: PlayoutBuffer) -> tuple[bytes, list[tuple[str, int]]]:
    """Everything in it; marks with the count of frames taken when they are reached."""
    data, frames = b"", 0
    marks: list[tuple[str, int]] = []
    while (frame := buffer.take(pad=True)) is not None:
        data += frame.data
        frames += bool(frame.data)
        marks += [(name, frames) for name in frame.marks]
    return data, marks


def test_a_part_of_a_frame_waits_for_more() -> None:
    buffer = PlayoutBuffer(FRAME, SILENCE)
    buffer.push(b"abcde")
    assert buffer.take(pad=False) is None
    buffer.push(b"fghij")
    assert buffer.take(pad=False) == Frame(b"abcdefgh")
    assert buffer.take(pad=False) is None
    assert buffer.take(pad=True) == Frame(b"ij" + SILENCE * 6)
    assert buffer.is_empty


def test_a_mark_without_audio_is_reached_at_once() -> None:
    buffer = PlayoutBuffer(FRAME, SILENCE)
    buffer.mark("now")
    assert buffer.take(pad=False) == Frame(b"", ("now",))


def test_a_mark_is_not_held_up_by_what_follows_it() -> None:
    buffer = PlayoutBuffer(FRAME, SILENCE)
    buffer.push(b"abcdefgh")
    assert buffer.take(pad=False) == Frame(b"abcdefgh")
    buffer.mark("end")
    buffer.push(b"i")
    assert buffer.take(pad=False) == Frame(b"", ("end",))


def test_clearing_forgets_marks_too() -> None:
    buffer = PlayoutBuffer(FRAME, SILENCE)
    buffer.push(b"abcdefghij")
    buffer.mark("never")
    buffer.clear()
    assert buffer.is_empty
    buffer.push(b"k")
    buffer.mark("later")
    assert drained(buffer) == (b"k" + SILENCE * 7, [("later", 1)])


portions = st.lists(st.one_of(st.binary(max_size=40), st.just("mark")), max_size=30)


@given(portions)
def test_nothing_is_lost_and_marks_lie_in_the_frame_of_their_last_byte(
    steps: list[bytes | str],
) -> None:
    buffer = PlayoutBuffer(FRAME, SILENCE)
    sent = b""
    expected: list[tuple[str, int]] = []
    for step in steps:
        if isinstance(step, str):
            expected.append((str(len(expected)), -(-len(sent) // FRAME)))
            buffer.mark(expected[-1][0])
        else:
            buffer.push(step)
            sent += step
    data, marks = drained(buffer)
    assert data[: len(sent)] == sent
    assert len(data) == -(-len(sent) // FRAME) * FRAME
    assert set(data[len(sent) :]) <= {0xFF}
    assert marks == expected
