"""What proves that finals and audio are one's own."""

from collections.abc import Callable

import numpy as np
import pytest

from services.asr.engines.base import DecodeRequest
from services.asr.engines.fake import FakeEngine
from services.asr.messages import Final, Word
from services.bench.cluster.fingerprints import RATE, SOUND, FakeVoice, heard_right
from services.bench.cluster.speech import Microphone, Utterance
from services.shared.audio.pcm import Floats
from services.tts.engines.base import SynthesisRequest
from services.tts.engines.fake import FakeEngine as FakeSynthesiser

MakeFinal = Callable[..., Final]


def melody(*hertz: int, seconds: float = 0.4) -> Floats:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.concatenate([0.3 * np.sin(2 * np.pi * pitch * times) for pitch in hertz]).astype(
        np.float32
    )


def utterance(*hertz: int) -> Utterance:
    samples = melody(*hertz)
    return Utterance("melody", "", SOUND.encode(samples), (0.0, len(samples) / RATE * 1000))


def line_with(said: Utterance, *, frames_before: int = 10) -> Microphone:
    line = Microphone(7)
    for _ in range(frames_before):
        line.frame()
    line.say(said)
    while line.speaking:
        line.frame()
    return line


def heard_by_engine(line: Microphone, start_ms: int, end_ms: int, final: MakeFinal) -> Final:
    """A final as the service makes it of this line's audio."""
    audio = line.samples(start_ms * 16, end_ms * 16)
    request = DecodeRequest(audio=audio, final=True, word_timestamps=True)
    [found] = FakeEngine().transcribe([request])
    assert not isinstance(found, Exception)
    words = tuple(
        Word(
            word=word.word,
            start_ms=word.start_ms + start_ms,
            end_ms=word.end_ms + start_ms,
            confidence=1.0,
        )
        for word in found.words
    )
    return final(found.text, start_ms, end_ms).model_copy(update={"words": words})


def test_ones_own_final_is_own_and_whole(final: MakeFinal) -> None:
    line = line_with(utterance(400, 900, 600))
    message = heard_by_engine(line, 136, 1400, final)
    heard = heard_right([message], line, line.speech_ms())
    assert (heard.own, heard.whole) == (True, True)


def test_anothers_final_is_not_own(final: MakeFinal) -> None:
    other = line_with(utterance(500, 900, 700))
    mine = line_with(utterance(400, 900, 600))
    message = heard_by_engine(other, 136, 1400, final)
    assert not heard_right([message], mine, mine.speech_ms()).own


def test_a_final_that_lacks_the_end_is_not_whole(final: MakeFinal) -> None:
    line = line_with(utterance(400, 900, 600))
    message = heard_by_engine(line, 136, 900, final)
    heard = heard_right([message], line, line.speech_ms())
    assert (heard.own, heard.whole) == (True, False)


def test_two_finals_make_it_whole(final: MakeFinal) -> None:
    line = line_with(utterance(400, 900, 600))
    parts = [heard_by_engine(line, 136, 800, final), heard_by_engine(line, 800, 1400, final)]
    heard = heard_right(parts, line, line.speech_ms())
    assert (heard.own, heard.whole) == (True, True)


def test_a_final_without_words_proves_nothing_whole(final: MakeFinal) -> None:
    line = line_with(utterance(400))
    assert not heard_right([final("", 0, 0)], line, line.speech_ms()).whole


@pytest.mark.parametrize("text", ["Certainly alpha bravo.", "One, two! Three?"])
def test_the_fake_voice_is_what_the_engine_says(text: str) -> None:
    engine = FakeSynthesiser()
    [voice, *_] = engine.voices()
    pieces = engine.synthesize(SynthesisRequest(text=text, voice=voice.id))
    samples = np.concatenate([piece.samples for piece in pieces])
    assert FakeVoice().audio(text) == SOUND.encode(samples)
