"""LocalAgreement-2: which words of a growing hypothesis will not change. Pure.

Two successive hypotheses over growing audio agree on a prefix; that prefix is promised to the
client and forced on every later decode (Macháček, Dabre, Bojar 2023, "Turning Whisper into a
Real-Time Transcription System"). Agreement comes late rather than wrong: the newest words, which
the next sounds may still change, are held back.
"""

import re

# A piece keeps the white space before it, so that joining pieces gives the text back. Scripts
# written without spaces (Thai, Lao, Khmer, kana, Han, Hangul excluded) are compared by character.
_PIECE = re.compile(
    r"\s*(?:[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
    r"|[^\s\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+)"
)


def pieces_of(text: str) -> list[str]:
    """Words with their leading white space; `"".join` gives the text without its trailing space."""
    return _PIECE.findall(text)


class Agreement:
    """The promised prefix of one segment of speech."""

    def __init__(self, hold_back: int = 2) -> None:
        self.text = ""
        """The newest hypothesis."""
        self.stable = ""
        """The promise: only grows, always a prefix of `text`."""
        self.stable_end = 0
        """Sample before which all promised words were spoken."""
        self._hold_back = hold_back
        self._previous: list[str] = []
        self._previous_end = 0

    def promise(self, text: str, stable: str, audio_end: int) -> None:
        """A hypothesis of an engine that says itself which beginning of it will not change."""
        text, stable = text.strip(), stable.strip()
        if not text.startswith(self.stable):
            return
        if stable.startswith(self.stable) and text.startswith(stable) and stable != self.stable:
            self.stable, self.stable_end = stable, audio_end
        self.text = text
        self._previous, self._previous_end = [], audio_end

    def update(self, text: str, audio_end: int, *, trusted: bool = True) -> None:
        """A new hypothesis over the audio up to `audio_end` (sample of the session).

        One that contradicts the promise (an engine that ignores its prefix) is not taken. One that
        is not trusted (too little audio, too little confidence) is shown but confirms nothing.
        """
        text = text.strip()
        if not text.startswith(self.stable):
            return
        pieces = pieces_of(text)
        agreed = 0
        for old, new in zip(self._previous, pieces, strict=False):
            if old != new:
                break
            agreed += 1
        agreed = min(agreed, len(pieces) - self._hold_back)
        candidate = "".join(pieces[: max(0, agreed)])
        if len(candidate) > len(self.stable):
            self.stable = candidate
            # The older hypothesis already had them: they lie before where its audio ended.
            self.stable_end = self._previous_end
        self.text = text
        self._previous, self._previous_end = pieces if trusted else [], audio_end


def keeping(promise: str, text: str) -> str:
    """The text, beginning with what was promised even if the engine has thought better of it.

    Where it contradicts the promise, the promise stands for as many words as it has.
    """
    if text.startswith(promise):
        return text
    return (promise + "".join(pieces_of(text)[len(pieces_of(promise)) :])).strip()
