"""A spoken phrase that is kept: its name, its audio and word times, its form as bytes.

Pure. Phrases are kept in the voice's own rate, 16 bits; what a client asks for (encoding, rate,
file format) is made of them as of fresh audio, so one greeting serves a telephone and a browser.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt

from services.shared.audio.pcm import to_int16
from services.tts.engines.base import AudioPiece, SynthesisRequest, Voice, WordTime

_FORMAT = 1
"""To be raised when our own part of the synthesis comes to sound different."""
_MAGIC = b"VPHRASE1"
_DIGEST = 32
_FIRST_S = 0.2
_PIECE_S = 0.5
_WORD_BYTES = 120
"""What a word time takes in memory, roughly."""


def phrase_key(request: SynthesisRequest, voice: Voice) -> str:
    """The name of what `request` sounds like: 64 hexadecimal digits.

    Those in a cloned voice begin with its id, so that they can be forgotten with it.

    The request holds what normalisation and lexicon made of the text, so a new entry changes the
    names of those phrases only in which its word is said.

    Args:
        voice: the one that the request names; its version stands for the model.
    """
    asked = asdict(replace(request, conditioning=None))
    del asked["conditioning"]  # the voice's version stands for it, too
    asked["language"] = voice.language  # an engine speaks no other in this voice
    parts = (_FORMAT, voice.engine, voice.version, voice.sample_rate, asked)
    text = json.dumps(parts, sort_keys=True, default=str)
    name = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{voice.id}-{name}" if voice.cloned else name


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """One segment, spoken."""

    samples: npt.NDArray[np.int16] = field(repr=False)
    """[n] at `sample_rate`."""
    sample_rate: int
    words: tuple[WordTime, ...]

    @classmethod
    def recorded(cls, pieces: Sequence[AudioPiece], sample_rate: int) -> "Phrase":
        """What an engine gave, joined."""
        parts = [to_int16(piece.samples) for piece in pieces]
        samples = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)
        return cls(samples, sample_rate, tuple(word for piece in pieces for word in piece.words))

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.samples.nbytes + _WORD_BYTES * len(self.words)

    def pieces(self) -> Iterator[AudioPiece]:
        """As an engine would give it; little first, so that it is on its way at once."""
        start, length = 0, int(_FIRST_S * self.sample_rate)
        words = list(self.words)
        while start < len(self.samples):
            end = min(len(self.samples), start + length)
            until_ms = end * 1000 // self.sample_rate
            last = end == len(self.samples)
            begun = [word for word in words if word.start_ms <= until_ms or last]
            words = words[len(begun) :]
            samples = self.samples[start:end].astype(np.float32) / np.float32(32_768)
            yield AudioPiece(samples, tuple(begun))
            start, length = end, int(_PIECE_S * self.sample_rate)

    def to_bytes(self) -> bytes:
        """With a checksum; `from_bytes` reads it."""
        words = [(word.word, word.start_ms, word.end_ms) for word in self.words]
        head = json.dumps({"sample_rate": self.sample_rate, "words": words}).encode()
        body = len(head).to_bytes(4, "little") + head + self.samples.astype("<i2").tobytes()
        return _MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "Phrase":
        """Raises ValueError: this is no phrase, or it is damaged."""
        begin = len(_MAGIC) + _DIGEST
        body = data[begin:]
        if data[: len(_MAGIC)] != _MAGIC or len(body) < 4:
            raise ValueError("not a phrase")
        if hashlib.sha256(body).digest() != data[len(_MAGIC) : begin]:
            raise ValueError("the phrase is damaged")
        length = int.from_bytes(body[:4], "little")
        head = json.loads(body[4 : 4 + length])
        samples = np.frombuffer(body[4 + length :], dtype="<i2").astype(np.int16)
        words = tuple(WordTime(word, start, end) for word, start, end in head["words"])
        return cls(samples, int(head["sample_rate"]), words)
