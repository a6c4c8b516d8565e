"""Is it one's own? What the fake engines make of exactly this audio or text. Pure.

The fake recogniser names every 200 ms of sound by its pitch and tells where they lie; so each word
of a final can be computed again from the audio that the caller itself has sent. The fake voice says
every word as a tone of its own; so the audio of a text is known to the last bit. A final or a reply
that passes cannot have been meant for somebody else, or lack anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.asr.engines.fake import word_of
from services.asr.messages import Final
from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.tts.engines.fake import SAMPLE_RATE, spoken_word

RATE = 16_000
SOUND = AudioFormat(Encoding.PCM_S16LE, RATE)
assert SAMPLE_RATE == RATE

_PER_MS = RATE // 1000
EDGE_MS = 300
"""Beginnings and ends of speech are judged in frames, and quiet ones are left out."""
_REST_MS = 100
"""The fake recogniser hears in blocks of 200 ms and drops a rest of less than half of one."""


class SentAudio(Protocol):
    """What a caller has sent in a session."""

    def samples(self, start: int, end: int) -> Floats:
        """The samples [start, end) of the session at 16 kHz, as the service decodes them."""


@dataclass(slots=True)
class Hearing:
    """What the finals of one utterance prove."""

    own: bool = True
    """Every word was computed from this caller's audio."""
    whole: bool = True
    """The words cover the utterance's speech from beginning to end."""


def heard_right(
    finals: Sequence[Final], sent: SentAudio, speech_ms: tuple[float, float]
) -> Hearing:
    """Hold finals with word times against the audio.

    Args:
        speech_ms: where the utterance's speech lies, milliseconds of the session.
    """
    words = [word for final in finals for word in final.words or ()]
    own = all(
        word.word == word_of(sent.samples(word.start_ms * _PER_MS, word.end_ms * _PER_MS))
        for word in words
    )
    if not words:
        return Hearing(own=own, whole=False)
    begins, ends = speech_ms
    edge = EDGE_MS + _REST_MS * len(finals)
    covered = words[0].start_ms <= begins + edge and words[-1].end_ms >= ends - edge
    return Hearing(own=own, whole=covered)


@dataclass(slots=True)
class FakeVoice:
    """Knows the audio of every text; keeps the words' tones."""

    _tones: dict[str, bytes] = field(default_factory=dict)

    def audio(self, text: str) -> bytes:
        """What the fake engine says, 16-bit PCM at 16 kHz.

        Only for texts of words: what the service would read otherwise (numbers, …) it does not
        know.
        """
        return b"".join(map(self._word, text.split()))

    def _word(self, word: str) -> bytes:
        tone = self._tones.get(word)
        if tone is None:
            tone = self._tones[word] = SOUND.encode(spoken_word(word))
        return tone
