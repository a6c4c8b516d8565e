"""Whatever the network does to the bytes, the events are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.voice_agent.sse import MAX_EVENT_CHARACTERS, SseDecoder, SseError

LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)


def _decode(chunks: list[bytes]) -> list[str]:
    decoder = SseDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


@given(
    events=st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=6),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 2000)),
    comment=st.booleans(),
)
def test_any_fragmentation(
    events: list[list[str]], newline: str, cuts: list[int], comment: bool
) -> None:
    text = "".join(
        (f": keep-alive{newline}{newline}" if comment else "")
        + "".join(f"data: {line}{newline}" for line in event)
        + newline
        for event in events
    )
    raw = text.encode()
    at = sorted({0, *(cut % (len(raw) + 1) for cut in cuts), len(raw)})
    chunks = [raw[a:b] for a, b in zip(at, at[1:], strict=False)]
    assert _decode(chunks) == ["\n".join(event) for event in events]


def test_separators_of_unicode_end_no_line() -> None:
    assert _decode(["data: a\u2028b\x0bc\n\n".encode()]) == ["a\u2028b\x0bc"]


def test_no_space_after_the_colon_other_fields_and_a_byte_order_mark() -> None:
    assert _decode([b"\xef\xbb\xbfevent: x\nid: 3\ndata:[DONE]\nretry: 5\n\n"]) == ["[DONE]"]


def test_the_last_empty_line_may_be_missing() -> None:
    assert _decode([b"data: a\n\ndata: b"]) == ["a", "b"]


def test_an_event_cut_between_cr_and_lf() -> None:
    assert _decode([b"data: a\r", b"\n\r", b"\ndata: b\r\n", b"\r\n"]) == ["a", "b"]


def test_memory_is_bounded() -> None:
    decoder = SseDecoder()
    with pytest.raises(SseError):
        for _ in range(3):
            decoder.feed(b"x" * (MAX_EVENT_CHARACTERS // 2))


def test_memory_is_bounded_over_many_lines() -> None:
    decoder = SseDecoder()
    with pytest.raises(SseError):
        for _ in range(3):
            decoder.feed(b"data: " + b"x" * (MAX_EVENT_CHARACTERS // 2) + b"\n")
