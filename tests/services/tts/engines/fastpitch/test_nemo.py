"""What is taken from NeMo's files: tokens, networks, mel settings."""

import io
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fastpitch.nemo import (
    NemoFastPitch,
    find_fastpitch,
    load_fastpitch,
    read_tokeniser,
)
from services.tts.engines.fastpitch.speech import whole_frames
from services.tts.engines.fastpitch.tokens import Tokeniser
from tests.services.tts.engines.fastpitch.models import DICTIONARY

WORDS = (
    *(word.removesuffix("(1)") for word in DICTIONARY),
    "oi",
    "Café",
    "tờ",
    "Nghiêng",
    "Straße",
)
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(WORDS).flatmap(
            lambda word: st.sampled_from(
                [word, word.title(), word.upper(), f"{word}'s", f"{word}s"]
            )
        ),
        st.text(alphabet="abzäßạờ'-.,!?()\"’—", min_size=1, max_size=7),
    ),
    max_size=6,
).map(" ".join)

pytestmark = pytest.mark.nemo


def test_a_folder_with_one_file(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="0 files"):
        find_fastpitch(str(tmp_path))
    (tmp_path / "a.nemo").touch()
    assert find_fastpitch(str(tmp_path)) == tmp_path / "a.nemo"


@pytest.fixture(scope="module", params=["arpabet", "ipa", "vietnamese"])
def model(request: pytest.FixtureRequest, fastpitch_files: Path) -> NemoFastPitch:
    return load_fastpitch(fastpitch_files / f"{request.param}.nemo", "cpu")


def one_space(ids: list[int], space: int) -> list[int]:
    """NeMo's IPA tokeniser leaves two spaces where it leaves out what was between them."""
    inner = [id for before, id in pairwise(ids[:-1]) if id != space or before != space]
    while inner and inner[-1] == space:
        inner.pop()
    return [space, *inner, space]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
@example(text="z z")
def test_tokens_are_those_of_nemo(model: NemoFastPitch, text: str) -> None:
    ours = Tokeniser(model.table, model.pronouncer).encode(text)
    try:
        theirs = model.model.parse(text, normalize=False)[0].tolist()
    except IndexError:  # NeMo's IPA tokeniser, of several words whose letters it knows none of
        assert set(ours) <= {model.table.space}
        return
    assert list(ours) == one_space(theirs, model.table.space)


@pytest.mark.parametrize(
    "kind", ["GermanCharsTokenizer", "EnglishCharsTokenizer", "SpanishCharsTokenizer"]
)
@pytest.mark.parametrize("text", ["Straße, „Äpfel“! Don't. ¿Qué café?", "a - b", " x  y "])
def test_tokens_of_other_letters_are_those_of_nemo(
    nemo_models: Any, tmp_path: Path, kind: str, text: str
) -> None:
    from nemo.core.classes.common import safe_instantiate

    theirs = safe_instantiate(nemo_models.tokenizer_config(kind, tmp_path))
    table, pronouncer = read_tokeniser(theirs)
    assert pronouncer is None
    assert list(Tokeniser(table).encode(text)) == theirs.encode(text)


def test_a_tokeniser_of_another_kind_is_refused(nemo_models: Any, tmp_path: Path) -> None:
    from nemo.core.classes.common import safe_instantiate

    theirs = safe_instantiate(nemo_models.tokenizer_config("HindiCharsTokenizer", tmp_path))
    with pytest.raises(EngineUnavailable, match="HindiCharsTokenizer is not served"):
        read_tokeniser(theirs)


@pytest.mark.parametrize("pace", [1.0, 1.3])
def test_both_halves_are_what_nemo_computes(model: NemoFastPitch, pace: float) -> None:
    import torch

    tokens = model.model.parse("hello there, oi", normalize=False)
    number = 1 if model.speakers else None
    speaker = torch.tensor([number or 0])
    with torch.inference_mode():
        theirs = model.model.generate_spectrogram(tokens=tokens, speaker=number, pace=pace)
        features, durations = model.encoder(tokens, speaker)
        frames = whole_frames(durations[0].numpy(), pace)
        long = np.repeat(features[0].numpy(), frames, axis=0)[np.newaxis]
        ours = model.decoder(torch.from_numpy(long), speaker)
    assert ours.shape[2] == frames.sum() > 20
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "g2p"),
    [
        ("arpabet", "nemo_text_processing.g2p.modules.EnglishG2p"),
        ("arpabet", "nemo.collections.tts.torch.g2ps.EnglishG2p"),
        ("ipa", "nemo.collections.tts.torch.g2ps.IPAG2P"),
    ],
)
def test_models_of_earlier_releases(
    fastpitch_files: Path, tmp_path: Path, model: str, g2p: str
) -> None:
    with (
        tarfile.open(fastpitch_files / f"{model}.nemo") as new,
        tarfile.open(tmp_path / "old.nemo", "w") as old,
    ):
        for member in new.getmembers():
            if file := new.extractfile(member):
                data = file.read()
                if member.name.endswith("model_config.yaml"):
                    data = as_earlier(yaml.safe_load(data), g2p)
                member.size = len(data)
                old.addfile(member, io.BytesIO(data))
    loaded = load_fastpitch(tmp_path / "old.nemo", "cpu")
    assert loaded.table == load_fastpitch(fastpitch_files / f"{model}.nemo", "cpu").table


def as_earlier(config: dict[str, Any], g2p: str) -> bytes:
    config["text_tokenizer"]["g2p"]["_target_"] = g2p
    config["text_normalizer"] = {
        "_target_": "nemo_text_processing.text_normalization.normalize.Normalizer",
        "lang": "en",
        "input_case": "cased",
    }
    config["train_ds"]["dataset"]["_target_"] = "nemo.collections.tts.torch.data.TTSDataset"
    return yaml.safe_dump(config).encode()


def test_a_file_that_is_none(tmp_path: Path, nemo_models: Any) -> None:
    path = tmp_path / "bad.nemo"
    path.write_bytes(b"not a model at all")
    with pytest.raises(EngineUnavailable, match=r"bad\.nemo is no FastPitch model"):
        load_fastpitch(path, "cpu")
