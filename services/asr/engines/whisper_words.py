"""From Whisper's alignment to words with times that can be relied on. Pure.

Whisper aligns by its attention, which stretches words over the silence beside them.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from services.asr.engines.base import Floats, HypothesisWord

_USUAL_WORD_MS = 700
_SENTENCE_ENDS = (".", "?", "!", "。", "？", "！")
_FRAME_MS = 10
_SILENT = 10 ** (-35 / 10)
"""Power under which a frame is silent, relative to the loudest one: the softest sounds of speech
have more, a noisy line never has less, and then nothing is cut."""


def words_of(found: Sequence[dict[str, Any]], audio: Floats) -> tuple[HypothesisWord, ...]:
    """Words with their punctuation, times in order and inside of what sounds.

    Args:
        found: what faster-whisper's alignment gives for one item.
        audio: [n], 16 kHz; times count from its first sample.
    """
    return _within_sound(_unstretched(_joined_punctuation(found)), audio)


def _joined_punctuation(found: Sequence[dict[str, Any]]) -> list[HypothesisWord]:
    words: list[HypothesisWord] = []
    for item in found:
        text = str(item["word"])
        if not text.strip():
            continue
        start, end = round(item["start"] * 1000), round(item["end"] * 1000)
        joins = not text.startswith(" ") or not any(char.isalnum() for char in text)
        if words and joins:
            last = words[-1]
            words[-1] = HypothesisWord(
                last.word + text.strip(), last.start_ms, max(last.end_ms, end), last.confidence
            )
        else:
            words.append(
                HypothesisWord(text.strip(), start, max(start, end), float(item["probability"]))
            )
    return words


def _unstretched(words: Sequence[HypothesisWord]) -> tuple[HypothesisWord, ...]:
    """Alignment stretches words over the pauses beside them; cut those to twice the median's."""
    if not words:
        return ()
    usual = median(word.end_ms - word.start_ms for word in words)
    limit = round(2 * min(usual, _USUAL_WORD_MS))
    cut: list[HypothesisWord] = []
    for index, word in enumerate(words):
        if word.end_ms - word.start_ms > limit:
            if index == 0 or words[index - 1].word.endswith(_SENTENCE_ENDS):
                word = replace(word, start_ms=word.end_ms - limit)
            elif index == len(words) - 1 or word.word.endswith(_SENTENCE_ENDS):
                word = replace(word, end_ms=word.start_ms + limit)
        cut.append(word)
    return tuple(cut)


def _within_sound(words: Sequence[HypothesisWord], audio: Floats) -> tuple[HypothesisWord, ...]:
    """Take the silence off both ends of every word."""
    size = 16 * _FRAME_MS
    power = np.square(audio[: len(audio) // size * size]).reshape(-1, size).mean(axis=1)
    loud = power > _SILENT * power.max(initial=0.0)
    return tuple(_trimmed(word, loud) for word in words)


def _trimmed(word: HypothesisWord, loud: np.typing.NDArray[np.bool_]) -> HypothesisWord:
    first, last = word.start_ms // _FRAME_MS, -(-word.end_ms // _FRAME_MS)
    sounding = np.flatnonzero(loud[first:last])
    if not len(sounding):
        return word
    start = max(word.start_ms, (first + int(sounding[0])) * _FRAME_MS)
    end = min(word.end_ms, (first + int(sounding[-1]) + 1) * _FRAME_MS)
    return replace(word, start_ms=start, end_ms=max(start, end))
