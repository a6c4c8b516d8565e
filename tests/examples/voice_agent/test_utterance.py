"""What was heard of a text."""

from hypothesis import given
from hypothesis import strategies as st

from examples.voice_agent.events import TimedWord
from examples.voice_agent.utterance import Utterance


def _utterance(text: str = "One two, three. Four!") -> Utterance:
    utterance = Utterance(1, "answer", text)
    words = text.split()
    utterance.add_words(tuple(TimedWord(w, i * 300, i * 300 + 300) for i, w in enumerate(words)))
    utterance.audio_ms = 300.0 * len(words)
    return utterance


def test_whole_words_count() -> None:
    utterance = _utterance()
    utterance.interrupt(700)
    assert utterance.spoken == "One two,"
    assert utterance.between(4, None) == "two,"
    assert utterance.between(8, None) == ""


def test_another_attempt_says_the_rest_and_its_words_come_later() -> None:
    utterance = _utterance()
    utterance.audio_ms = 650
    assert utterance.begin_again() == "three. Four!"
    utterance.add_words((TimedWord("three.", 0, 300), TimedWord("Four!", 300, 600)))
    utterance.interrupt(1000)
    assert utterance.spoken == "One two, three."


def test_without_word_times_it_goes_by_the_share() -> None:
    utterance = Utterance(1, "answer", "One two three four", audio_ms=1000)
    utterance.interrupt(520)
    assert utterance.spoken == "One two"
    silent = Utterance(2, "answer", "One two", complete=True)
    silent.interrupt(0)
    assert silent.spoken == ""


@given(st.lists(st.sampled_from(["a", "bb,", "a.", "c"]), min_size=1), st.floats(0, 10_000))
def test_what_was_heard_begins_the_text_and_grows(words: list[str], ms: float) -> None:
    text = " ".join(words)
    first, second = _utterance(text), _utterance(text)
    first.interrupt(ms)
    second.interrupt(ms + 300)
    assert text.startswith(first.spoken)
    assert second.spoken.startswith(first.spoken)
