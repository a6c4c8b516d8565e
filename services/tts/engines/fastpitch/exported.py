"""A FastPitch voice as `scripts/export_onnx.py` writes it: a folder that needs no torch to speak.

    voice.json        what must be known besides the networks
    dictionary.json   pronunciations, for models that read phonemes
    encoder.onnx      ids [1, tokens], speaker [1] → features [1, tokens, channels], durations
    decoder.onnx      features [1, frames, channels], speaker [1] → mel [1, bands, frames]
    vocoder.onnx      mel [1, bands, frames] → audio [1, 1, samples]

A network of one speaker lacks the input `speaker`.
"""

import json
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fastpitch.mel import MelSettings
from services.tts.engines.fastpitch.pronunciation import Alphabet, Case, Pronouncer
from services.tts.engines.fastpitch.tokens import TokenTable

MANIFEST, DICTIONARY = "voice.json", "dictionary.json"
_Model = TypeVar("_Model", bound=BaseModel)
ENCODER, DECODER, VOCODER = "encoder.onnx", "decoder.onnx", "vocoder.onnx"


class Phonemes(BaseModel):
    """How a model's words become phonemes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alphabet: Alphabet
    locale: str
    case: Case
    prefix: str


class Manifest(BaseModel):
    """`voice.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    language: str
    """BCP 47 tag of the texts that it was trained on. Numbers must come as words of it."""
    speakers: int
    """0 in a model of one."""
    mel: MelSettings
    reach: int
    """Frames on each side that a sample depends on."""
    tokens: TokenTable
    phonemes: Phonemes | None
    """None: the model reads letters."""
    sources: dict[str, str] = {}
    """Names and digests of the files that it was made of."""


class _Dictionary(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    words: dict[str, str | None]
    """Word → phonemes, divided by spaces; null: of several readings, and spelt."""
    spelt: tuple[str, ...]


def write_voice(folder: Path, manifest: Manifest, pronouncer: Pronouncer | None) -> None:
    """Write the JSON files."""
    text = manifest.model_dump_json(indent=1)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    if pronouncer is not None:
        dictionary = _Dictionary(
            words={
                word: None if said is None else " ".join(said)
                for word, said in pronouncer.entries.items()
            },
            spelt=tuple(sorted(pronouncer.spelt)),
        )
        (folder / DICTIONARY).write_text(dictionary.model_dump_json(), encoding="utf-8")


def phonemes_of(pronouncer: Pronouncer | None) -> Phonemes | None:
    if pronouncer is None:
        return None
    return Phonemes(
        alphabet=pronouncer.alphabet,
        locale=pronouncer.locale,
        case=pronouncer.case,
        prefix=pronouncer.prefix,
    )


def read_voice(folder: Path) -> tuple[Manifest, Pronouncer | None]:
    """Raises EngineUnavailable when a file is missing or not as it should be."""
    manifest = _read(folder / MANIFEST, Manifest)
    if manifest.phonemes is None:
        return manifest, None
    dictionary = _read(folder / DICTIONARY, _Dictionary)
    how = manifest.phonemes
    return manifest, Pronouncer(
        alphabet=how.alphabet,
        locale=how.locale,
        entries={
            word: None if said is None else tuple(said.split())
            for word, said in dictionary.words.items()
        },
        spelt=frozenset(dictionary.spelt),
        case=how.case,
        prefix=how.prefix,
    )


def _read(path: Path, kind: type[_Model]) -> _Model:
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise EngineUnavailable(
            f"{path} is not of an exported FastPitch voice (scripts/export_onnx.py): {error}"
        ) from error
