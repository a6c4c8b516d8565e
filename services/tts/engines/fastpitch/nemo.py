"""NeMo's FastPitch from its `.nemo` file: the two halves of the network and its tokeniser."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fastpitch.hub import resolve
from services.tts.engines.fastpitch.mel import MelSettings, nemo_mel
from services.tts.engines.fastpitch.pronunciation import Pronouncer
from services.tts.engines.fastpitch.tokens import SPACE, TokenTable

_FORMS: Mapping[str, dict[str, Any]] = {
    "english_text_preprocessing": {"accents": "strip", "apostrophes": True, "lowercase": True},
    "any_locale_text_preprocessing": {"apostrophes": True},
    "vietnamese_text_preprocessing": {"lowercase": True},
    "spanish_text_preprocessing": {"lowercase": True},
    "french_text_preprocessing": {"lowercase": True},
    "italian_text_preprocessing": {"lowercase": True},
}
"""What NeMo's functions of these names do to a text."""
_OWN_RULES = frozenset({"fr-FR"})
"""Locales whose G2P has rules of its own that are not repeated here."""
_RENAMED = {
    "nemo.collections.tts.torch.g2ps.IPAG2P": "nemo.collections.tts.g2p.models.i18n_ipa.IpaG2p",
}
"""Names in published models that NeMo 3.0 no longer lets through; it knows the others itself."""
_UNUSED = ("text_normalizer", "text_normalizer_call_kwargs", "validation_ds", "test_ds", "optim")
"""Sections that only training needs. The service has its own normaliser: NeMo's compiles grammars
for a minute and would change words that the lexicon has decided."""


@dataclass(frozen=True, slots=True)
class NemoFastPitch:
    """A loaded model."""

    encoder: Any
    """torch module: ids [1, tokens], speaker [1] → features [1, tokens, channels], durations."""
    decoder: Any
    """torch module: features [1, frames, channels], speaker [1] → mel [1, bands, frames]."""
    mel: MelSettings
    table: TokenTable
    pronouncer: Pronouncer | None
    speakers: int
    """0 in a model of one."""
    model: Any
    """NeMo's own."""


def find_fastpitch(source: str) -> Path:
    """The `.nemo` file that `source` means. Raises EngineUnavailable."""
    path = resolve(source, ("*.nemo",))
    if path.is_file():
        return path
    found = sorted(path.glob("*.nemo"))
    if len(found) != 1:
        raise EngineUnavailable(f"{source} has {len(found)} files *.nemo; expected one")
    return found[0]


def load_fastpitch(path: Path, device: str) -> NemoFastPitch:
    """Restore a model for inference.

    Raises:
        EngineUnavailable: NeMo is missing, or the file is no FastPitch that can be spoken with.
    """
    try:
        import torch
        from nemo.collections.tts.models import FastPitchModel
    except ImportError as error:
        raise EngineUnavailable(
            f"the fastpitch engine needs NeMo; install it with: uv sync --group nemo ({error})"
        ) from error
    try:
        config = _inference_config(FastPitchModel.restore_from(str(path), return_config=True))
        model = FastPitchModel.restore_from(
            str(path), override_config_path=config, map_location=torch.device(device)
        )
    except Exception as error:
        raise EngineUnavailable(f"{path} is no FastPitch model of NeMo: {error}") from error
    model.eval().requires_grad_(False).to(device)
    if model.vocab is None:
        raise EngineUnavailable(f"{path} was trained without a tokeniser; NeMo ≥ 1.8 makes one")
    if getattr(model.fastpitch, "speaker_encoder", None) is not None:
        raise EngineUnavailable(f"{path} takes its voice from reference audio; not served")
    encoder, decoder = _halves(model.fastpitch)
    table, pronouncer = read_tokeniser(model.vocab)
    return NemoFastPitch(
        encoder=encoder,
        decoder=decoder,
        mel=nemo_mel(model.cfg.preprocessor),
        table=table,
        pronouncer=pronouncer,
        speakers=0 if model.fastpitch.speaker_emb is None else int(model.cfg.n_speakers),
        model=model,
    )


def _inference_config(config: Any) -> Any:
    from omegaconf import open_dict

    with open_dict(config):
        for name in _UNUSED:
            config.pop(name, None)
        g2p = (config.get("text_tokenizer") or {}).get("g2p")
        if g2p is not None and g2p.get("_target_") in _RENAMED:
            g2p["_target_"] = _RENAMED[g2p["_target_"]]
    return config


def _halves(module: Any) -> tuple[Any, Any]:
    """The network before and after the durations are applied."""
    import torch

    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = module

        def forward(self, ids: Any, speaker: Any) -> tuple[Any, Any]:
            net = self.net
            voice = _voice(net, speaker)
            features, mask = net.encoder(input=ids, conditioning=voice)
            logarithms = net.duration_predictor(features, mask, conditioning=voice)
            durations = torch.clamp(
                torch.exp(logarithms) - 1.0, net.min_token_duration, net.max_token_duration
            )
            pitch = net.pitch_predictor(features, mask, conditioning=voice)
            voiced = features + net.pitch_emb(pitch.unsqueeze(1)).transpose(1, 2)
            if net.energy_predictor is not None:
                energy = net.energy_predictor(voiced, mask, conditioning=voice).squeeze(-1)
                voiced = voiced + net.energy_emb(energy.unsqueeze(1)).transpose(1, 2)
            return voiced, durations

    class Decoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = module

        def forward(self, features: Any, speaker: Any) -> Any:
            net = self.net
            lengths = torch.ones_like(features[:, :, 0], dtype=torch.int64).sum(dim=1)
            out, _ = net.decoder(
                input=features, seq_lens=lengths, conditioning=_voice(net, speaker)
            )
            return net.proj(out).transpose(1, 2)

    return Encoder().eval(), Decoder().eval()


def _voice(net: Any, speaker: Any) -> Any:
    return None if net.speaker_emb is None else net.speaker_emb(speaker).unsqueeze(1)


def read_tokeniser(vocabulary: Any) -> tuple[TokenTable, Pronouncer | None]:
    """What NeMo's tokeniser does, as data.

    Raises:
        EngineUnavailable: it is of a kind that is not repeated here.
    """
    from nemo.collections.common.tokenizers.text_to_speech import tts_tokenizers as nemo

    encode = type(vocabulary).encode
    if encode is nemo.BaseCharsTokenizer.encode:
        form = _FORMS.get(vocabulary.text_preprocessing_func.__name__)
        if form is not None:
            return _table(vocabulary, tuple(vocabulary.PUNCT_LIST), letters_only=True, **form), None
    elif encode is nemo.EnglishPhonemesTokenizer.encode:
        table = _table(
            vocabulary,
            tuple(vocabulary.PUNCT_LIST),
            letters_only=True,
            accents="strip",
            apostrophes=True,
            stresses=vocabulary.stresses,
        )
        return table, _arpabet(vocabulary.g2p)
    elif encode is nemo.IPATokenizer.encode:
        english = vocabulary.g2p.locale == "en-US"
        table = _table(
            vocabulary,
            tuple(vocabulary.punct_list),
            accents="strip" if english else "keep",
            apostrophes=True,
        )
        return table, _ipa(vocabulary.g2p)
    raise EngineUnavailable(
        f"the tokeniser {type(vocabulary).__name__} is not served; "
        "letters (BaseCharsTokenizer), English ARPAbet and IPA are"
    )


def _table(
    vocabulary: Any, punctuation: tuple[str, ...], *, letters_only: bool = False, **form: Any
) -> TokenTable:
    marks = tuple(mark for mark in punctuation if vocabulary.punct)
    utility = {vocabulary.pad, vocabulary.blank, vocabulary.oov, vocabulary.space}
    ids = {
        token: number
        for number, token in enumerate(vocabulary.tokens)
        if number not in utility and token != SPACE
        if not letters_only or token.isalnum() or token == "'" or token in marks
    }
    return TokenTable(
        ids=ids,
        marks=tuple(mark for mark in marks if mark in ids),
        space=vocabulary.space,
        pad_with_space=bool(vocabulary.pad_with_space),
        **form,
    )


def _arpabet(g2p: Any) -> Pronouncer:
    _check_rules(g2p, "EnglishG2p")
    return Pronouncer("arpabet", "en-US", _entries(g2p), frozenset(g2p.heteronyms or ()))


def _ipa(g2p: Any) -> Pronouncer:
    _check_rules(g2p, "IpaG2p")
    if g2p.locale in _OWN_RULES or g2p.locale is None:
        raise EngineUnavailable(f"phonemes of {g2p.locale} are not served")
    return Pronouncer(
        alphabet="ipa",
        locale=g2p.locale,
        entries=_entries(g2p),
        spelt=frozenset(g2p.heteronyms or ()),
        case=g2p.grapheme_case,
        prefix=g2p.grapheme_prefix or "",
    )


def _check_rules(g2p: Any, expected: str) -> None:
    if type(g2p).__name__ != expected or g2p.apply_to_oov_word is not None:
        raise EngineUnavailable(
            f"the model reads words with {type(g2p).__name__} and rules for unknown words; "
            f"only {expected} without such rules is served"
        )


def _entries(g2p: Any) -> dict[str, tuple[str, ...] | None]:
    return {
        word: tuple(readings[0]) if len(readings) == 1 or not g2p.ignore_ambiguous_words else None
        for word, readings in g2p.phoneme_dict.items()
        if readings
    }
