"""Japanese is read by way of kana."""

import pytest

from services.shared.protocol.base import ErrorCode
from services.tts.engines.base import EngineError
from services.tts.engines.japanese import JapaneseEspeak, spaced_kana


def phonemes(reader: JapaneseEspeak, text: str) -> str:
    return "".join(symbol for clause in reader.clauses(text) for symbol in clause.phonemes)


def test_kana_needs_no_dictionary() -> None:
    assert phonemes(JapaneseEspeak(None), "こんにちは").startswith("k")


@pytest.mark.parametrize("text", ["今日は", "人々", "3月"])
def test_kanji_without_a_dictionary_says_what_to_install(text: str) -> None:
    with pytest.raises(EngineError, match="--group japanese") as caught:
        JapaneseEspeak(None).clauses(text)
    assert caught.value.code is ErrorCode.UNSUPPORTED_LANGUAGE


def test_kanji_are_read_as_the_dictionary_says() -> None:
    reader = JapaneseEspeak({"今日": "キョー", "a": "a"}.__getitem__)
    assert phonemes(reader, "今日") == phonemes(JapaneseEspeak(None), "キョー")


def test_particles_and_endings_stay_with_their_word() -> None:
    words = [
        {"string": "東京", "pron": "トーキョー", "pos": "名詞"},
        {"string": "は", "pron": "ワ", "pos": "助詞"},
        {"string": "、", "pron": "、", "pos": "記号"},
        {"string": "いい", "pron": "イイ", "pos": "形容詞"},
        {"string": "です", "pron": "デス’", "pos": "助動詞"},
        {"string": "。", "pron": "、", "pos": "記号"},
    ]
    assert spaced_kana(words) == "トーキョーワ、 イイデス。"


def test_open_jtalk_reads_kanji_and_numbers() -> None:
    pytest.importorskip("pyopenjtalk", reason="dependency group japanese")
    from services.tts.engines.japanese import open_jtalk

    to_kana = open_jtalk()
    assert to_kana is not None
    assert to_kana("今日は東京です。") == "キョーワ トーキョーデス。"
    assert "ヒャク" in to_kana("1200円")
    assert to_kana(" ") == " "
