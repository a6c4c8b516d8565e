"""Subtitles: no word lost, cues in order, readable."""

from hypothesis import given
from hypothesis import strategies as st

from services.asr.messages import Word
from services.asr.transcript import Segment, Transcript
from services.cli.subtitles import CUE_MS, LINE, Cue, cues, srt, vtt, words_of

spellings = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=60)


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    """Words in time, with pauses, and now and then times that cross."""
    at, words = 0, []
    for spelling in draw(st.lists(spellings, max_size=60)):
        at += draw(st.integers(-50, 1500))
        at = max(0, at)
        length = draw(st.integers(0, 2000))
        mark = draw(st.sampled_from(["", "", "", ".", "?", ","]))
        words.append(Word(word=spelling + mark, start_ms=at, end_ms=at + length, confidence=1.0))
        at += length
    return words


@given(spoken())
def test_no_word_is_lost_and_the_order_stays(words: list[Word]) -> None:
    text = " ".join(line for cue in cues(words) for line in cue.lines)
    assert text.split() == " ".join(word.word for word in words).split()


@given(spoken())
def test_cues_follow_each_other(words: list[Word]) -> None:
    found = cues(words)
    for cue in found:
        assert cue.start_ms < cue.end_ms
    for before, after in zip(found, found[1:], strict=False):
        assert before.end_ms <= after.start_ms


@given(spoken())
def test_cues_can_be_read(words: list[Word]) -> None:
    for cue in cues(words):
        assert len(cue.lines) <= 2
        for line in cue.lines:
            assert len(line) <= LINE or " " not in line


def test_a_cue_is_not_longer_than_six_seconds() -> None:
    words = [
        Word(word="word", start_ms=at, end_ms=at + 500, confidence=1.0)
        for at in range(0, 30_000, 500)
    ]
    assert all(cue.end_ms - cue.start_ms <= CUE_MS for cue in cues(words))


def test_a_cue_ends_with_the_sentence_and_at_a_pause() -> None:
    times = [("Hello", 0), ("there.", 400), ("How", 800), ("are", 3000), ("you?", 3400)]
    words = [Word(word=w, start_ms=at, end_ms=at + 300, confidence=1.0) for w, at in times]
    assert [cue.lines for cue in cues(words)] == [("Hello there.",), ("How",), ("are you?",)]


def test_the_formats_are_those_of_players() -> None:
    found = [Cue(0, 1500, ("One", "two")), Cue(3_600_000, 3_601_001, ("a < b & c",))]
    assert srt(found) == (
        "1\n00:00:00,000 --> 00:00:01,500\nOne\ntwo\n\n"
        "2\n01:00:00,000 --> 01:00:01,001\na < b & c\n"
    )
    assert vtt(found).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nOne\ntwo\n\n")
    assert vtt(found).endswith("a &lt; b &amp; c\n")
    assert srt([]) == ""


def test_a_segment_without_word_times_is_one_cue() -> None:
    segment = Segment(start_ms=5, end_ms=900, text="As it is.")
    transcript = Transcript(text="As it is.", language="en", duration_ms=1000, segments=(segment,))
    assert cues(words_of(transcript)) == [Cue(5, 900, ("As it is.",))]
