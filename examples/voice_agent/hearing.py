"""What a caller's words over the agent's are: nothing, a listener's "mm-hm", an echo, or speech."""

import re
import unicodedata
from collections import deque
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ALIKE = 0.75
"""Two words that share this much of their letters may be the same, misheard."""
_REMEMBERED = 80
"""Words of the agent that an echo can be found in."""


def words_of(text: str) -> list[str]:
    """Words in small letters without punctuation."""
    return _WORD.findall(unicodedata.normalize("NFC", text).casefold())


def same_words(a: str, b: str) -> bool:
    """Two texts that differ in case and punctuation at most."""
    return words_of(a) == words_of(b)


class Verdict(StrEnum):
    NOTHING = "nothing"
    BACKCHANNEL = "backchannel"
    ECHO = "echo"
    SPEECH = "speech"
    STOP = "stop"
    """Speech that interrupts however short it is."""


@dataclass(frozen=True, slots=True)
class Judged:
    verdict: Verdict
    words: int = 0
    """That are no echo."""

    @property
    def real(self) -> bool:
        return self.verdict in (Verdict.SPEECH, Verdict.STOP)


class Hearing:
    """Judges texts by an agent's lists and by what it said a moment ago."""

    def __init__(
        self,
        backchannels: frozenset[str],
        stop_words: frozenset[str],
        *,
        echo_overlap: float = 0.6,
        echo_window_s: float = 1.0,
    ) -> None:
        self._phrases = {tuple(words_of(phrase)) for phrase in backchannels} - {()}
        self._longest = max((len(phrase) for phrase in self._phrases), default=0)
        self._stop_words = {word for phrase in stop_words for word in words_of(phrase)}
        self._overlap = echo_overlap
        self._window_s = echo_window_s
        self._said: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)

    def agent_said(self, at_s: float, word: str) -> None:
        """A word of the agent was heard at this time."""
        self._said.extend((at_s, each) for each in words_of(word))

    def judge(self, text: str, onset_s: float | None) -> Judged:
        """Judge what was said since `onset_s`; None: the agent was silent, so there is no echo."""
        words = words_of(text)
        if not words:
            return Judged(Verdict.NOTHING)
        own = words if onset_s is None else self._without_echo(words, onset_s)
        if not own:
            return Judged(Verdict.ECHO)
        if self._is_backchannel(own):
            return Judged(Verdict.BACKCHANNEL, len(own))
        if own[0] in self._stop_words:
            return Judged(Verdict.STOP, len(own))
        return Judged(Verdict.SPEECH, len(own))

    def _without_echo(self, words: list[str], onset_s: float) -> list[str]:
        """All words, or none when too many of them are the agent's."""
        said = [word for at_s, word in self._said if at_s >= onset_s - self._window_s]
        if not said:
            return words
        return [] if _common(words, said) >= self._overlap * len(words) else words

    def _is_backchannel(self, words: list[str]) -> bool:
        """The words are phrases of the list, one after the other."""
        at = 0
        while at < len(words):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                if tuple(words[at : at + length]) in self._phrases:
                    at += length
                    break
            else:
                return False
        return True


def _common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, by words that sound alike."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = row
        row = [0]
        for j, y in enumerate(b):
            row.append(before[j] + 1 if _alike(x, y) else max(row[j], before[j + 1]))
    return row[-1]


def _alike(a: str, b: str) -> bool:
    if a == b:
        return True
    return min(len(a), len(b)) > 3 and SequenceMatcher(None, a, b).ratio() >= _ALIKE
