"""Text as the language model reads it, and which of its tokens are which written word."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from services.tts.engines.base import ReadWord, SynthesisRequest
from services.tts.engines.chatterbox.timing import TimedWord
from services.tts.engines.checks import WRITTEN_WORD, is_speakable

_LEAST_TOKENS = 6
"""Start and end included. On less the model babbles, and the library's checks have nothing to look
at; full stops say nothing and make up for it."""
_STOP = "."


@dataclass(frozen=True, slots=True)
class ReadText:
    """What the model is given."""

    tokens: tuple[int, ...]
    """Start and end included."""
    words: tuple[TimedWord, ...]
    """The audible ones."""


class TextReader:
    """Reads for one model.

    Args:
        tokenizer: the library's EnTokenizer or MTLTokenizer.
        clean: the library's `punc_norm` of the same model.
        multilingual: the tokenizer wants to know the language.
        start: token before the text.
        end: token after it.
    """

    def __init__(
        self,
        tokenizer: Any,
        clean: Callable[[str], str],
        *,
        multilingual: bool,
        start: int,
        end: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._clean = clean
        self._multilingual = multilingual
        self._start = start
        self._end = end

    def read(self, request: SynthesisRequest, language: str) -> ReadText:
        """Args: language: of the voice, a BCP 47 tag."""
        text = self._clean(request.text)
        tokens = self._encode(text, language)
        while len(tokens) + 2 < _LEAST_TOKENS:
            text += _STOP
            tokens = self._encode(text, language)
        words = [
            word for word in request.words or _written(request.text) if is_speakable(word.spoken)
        ]
        firsts = self._firsts([word.spoken for word in words], language, tokens)
        timed = (TimedWord(word.written, at) for word, at in zip(words, firsts, strict=True))
        return ReadText((self._start, *tokens, self._end), tuple(timed))

    def _encode(self, text: str, language: str) -> list[int]:
        if self._multilingual:
            return list(self._tokenizer.encode(text, language_id=language.split("-")[0].lower()))
        return list(self._tokenizer.encode(text))

    def _firsts(self, spoken: Sequence[str], language: str, tokens: Sequence[int]) -> list[int]:
        """The first token of each word in the prompt's text.

        The words' own tokens are found again in those of the whole. Where marks or readings differ
        with the context, a word is put between the ones that were found.
        """
        tag = len(self._encode("", language)) if self._multilingual else 0
        own: list[int] = []
        begins: list[int] = []
        for word in spoken:
            begins.append(len(own))
            own += self._encode(word, language)[tag:]
        known = {0: tag, len(own): len(tokens)}
        blocks = SequenceMatcher(None, own, tokens[tag:], autojunk=False).get_matching_blocks()
        for block in blocks:
            known |= {block.a + step: tag + block.b + step for step in range(block.size)}
        places = sorted(known)
        found = np.interp(begins, places, [known[place] for place in places])
        return [1 + int(place) for place in found]


def _written(text: str) -> list[ReadWord]:
    return [ReadWord(word, word) for word in WRITTEN_WORD.findall(text)]
