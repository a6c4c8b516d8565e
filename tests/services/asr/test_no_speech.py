"""Sounds that nobody speaks give no words, live and in files; speech among them keeps its own."""

import asyncio
from itertools import cycle

import httpx
import numpy as np
import pytest

from services.asr.config import EngineConfig
from services.asr.engines.base import DecodeRequest, Hypothesis
from services.asr.engines.whisper import WhisperEngine
from services.asr.messages import Final, Partial, Stopped
from services.asr.transcript import Transcript
from services.shared.audio.pcm import Floats
from services.shared.media.wav import wav_bytes
from services.shared.models.store import ModelStore
from tests.services.asr.client import Caller, recognise
from tests.services.asr.sound_parts import RATE, over_the_telephone
from tests.services.asr.sounds import joined, pcm, recording, silence, transcripts, words_of
from tests.services.asr.sounds_without_speech import sounds_like_voices, sounds_without_speech
from tests.services.serving import LiveService

pytestmark = pytest.mark.models

SOUNDS = sounds_without_speech()
HARD = ["knocks", "melody", "birds", "strings", "ringback US", "beep", "fax, called", "coughs"]
"""Those that the voice detector or the recogniser is most easily fooled by."""
AROUND = ["hold music", "dial tone US", "pink noise -30 dB", "knocks", "DTMF", "line crackle"]
REASONS = {None, "no_speech", "repetition", "invented_phrase", "unsure"}
TEXTS = transcripts()
SPOKEN = "confbridge-only-one.flac"


def sound(name: str, ms: int, seed: int, *, telephone: bool) -> Floats:
    made = SOUNDS[name](ms, np.random.default_rng(seed)).astype(np.float32)
    return over_the_telephone(made) if telephone else made


def check_no_words(caller: Caller, name: str) -> None:
    assert not caller.all(Partial), f"{name}: {caller.all(Partial)[0].text}"
    for final in caller.all(Final):
        assert final.text == "", f"{name}: {final.text}"
        assert final.suppressed in REASONS
    assert caller.all(Stopped)[0].dropped_ms == 0


async def transcribe(service: LiveService, samples: Floats) -> Transcript:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        file = {"file": ("sound.wav", wav_bytes(samples, RATE))}
        answer = await client.post(f"{service.http}/v1/transcribe", files=file)
    return Transcript.model_validate_json(answer.content)


async def test_no_sound_is_heard_as_words_live(hearing: LiveService) -> None:
    for name, telephone in zip(SOUNDS, cycle((True, False)), strict=False):
        data = pcm(sound(name, 4000, 1, telephone=telephone))
        check_no_words(await recognise(hearing.ws, data), name)


@pytest.mark.parametrize("telephone", [False, True])
async def test_no_sound_of_a_file_is_heard_as_words(hearing: LiveService, telephone: bool) -> None:
    parts = [joined(sound(name, 3000, 2, telephone=telephone), silence(500)) for name in HARD]
    assert (await transcribe(hearing, joined(*parts))).text == ""


@pytest.fixture(scope="module")
def spoken() -> Floats:
    return recording(SPOKEN)


@pytest.mark.parametrize("name", AROUND)
async def test_speech_among_sounds_keeps_its_words(
    hearing: LiveService, spoken: Floats, name: str
) -> None:
    before, after = (sound(name, 2500, seed, telephone=True) for seed in (3, 4))
    speech = joined(before, silence(300), spoken, silence(300), after)
    caller = await recognise(hearing.ws, pcm(speech))
    assert words_of(caller.text) == words_of(TEXTS[SPOKEN])
    assert words_of((await transcribe(hearing, speech)).text) == words_of(TEXTS[SPOKEN])


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("telephone", [False, True])
async def test_no_words_of_any_sound(hearing: LiveService, telephone: bool) -> None:
    """Long ones, four at a time."""

    async def check(name: str) -> None:
        made = sound(name, 12_000, 5 + telephone, telephone=telephone)
        check_no_words(await recognise(hearing.ws, pcm(made)), name)
        assert (await transcribe(hearing, made)).text == "", name

    names = list(SOUNDS)
    for at in range(0, len(names), 2):  # so many files are taken at a time
        await asyncio.gather(*map(check, names[at : at + 2]))


@pytest.fixture(scope="module")
def engine(model_store: ModelStore) -> WhisperEngine:
    made = WhisperEngine(EngineConfig(), model_store)
    made.load()
    return made


def check_recogniser(engine: WhisperEngine, name: str, ms: int, seed: int) -> None:
    made = sound(name, ms, seed, telephone=bool(seed % 2))
    for final in (True, False):
        [answer] = engine.transcribe([DecodeRequest(made, final)])
        assert isinstance(answer, Hypothesis)
        assert answer.text == "", f"{name}: {answer.text}"
        assert answer.suppressed in REASONS - {None}


@pytest.mark.parametrize("name", HARD)
def test_the_recogniser_alone_is_not_fooled(engine: WhisperEngine, name: str) -> None:
    """Should the voice detector take it for speech."""
    check_recogniser(engine, name, 1500, 6)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_recogniser_alone_is_not_fooled_by_any_sound(engine: WhisperEngine) -> None:
    for seed, name in enumerate(SOUNDS):
        check_recogniser(engine, name, 2500, seed)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_animals_say_little(hearing: LiveService) -> None:
    """Now and then a "hey" is heard of them, but no story."""
    for name, make in sounds_like_voices().items():
        for seed in range(4):
            made = make(8000, np.random.default_rng(seed)).astype(np.float32)
            caller = await recognise(hearing.ws, pcm(made))
            assert len(caller.text.split()) <= 4, f"{name}: {caller.text}"
