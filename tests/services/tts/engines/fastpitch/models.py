"""Small models of the real kinds, at random weights: NeMo's FastPitch, NVIDIA's BigVGAN."""

import json
import warnings
from pathlib import Path
from typing import Any

SAMPLE_RATE = 22_050
HOP = 256
BANDS = 80
DICTIONARY = {
    "hello": ("HH AH0 L OW1", "h ə l ˈ o ʊ"),
    "there": ("DH EH1 R", "ð ˈ ɛ ɹ"),
    "how": ("HH AW1", "h ˈ a ʊ"),
    "are": ("AA1 R", "ˈ ɑ ɹ"),
    "you": ("Y UW1", "j ˈ u"),
    "apple": ("AE1 P AH0 L", "ˈ æ p ə l"),
    "don't": ("D OW1 N T", "d ˈ o ʊ n t"),
    "airport": ("EH1 R P AO2 R T", "ˈ ɛ ɹ p ˌ ɔ ɹ t"),
    "bus": ("B AH1 S", "b ˈ ə s"),
    "well": ("W EH1 L", "w ˈ ɛ l"),
    "known": ("N OW1 N", "n ˈ o ʊ n"),
    "read": ("R EH1 D", "ɹ ˈ ɛ d"),
    "read(1)": ("R IY1 D", "ɹ ˈ i d"),
    "lead": ("L IY1 D", "l ˈ i d"),
}
"""ARPAbet and IPA; "read" has two readings, "lead" will be a heteronym."""


def vocoder_config(*, fmax: float | None = 8000, channels: int = 32) -> dict[str, Any]:
    """A BigVGAN of the shape of `bigvgan_v2_22khz_80band_256x`, but for its channels."""
    return {
        "resblock": "1",
        "upsample_rates": [4, 4, 2, 2, 2, 2],
        "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
        "upsample_initial_channel": channels,
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        "use_tanh_at_final": False,
        "use_bias_at_final": False,
        "activation": "snakebeta",
        "snake_logscale": True,
        "num_mels": BANDS,
        "n_fft": 1024,
        "hop_size": HOP,
        "win_size": 1024,
        "sampling_rate": SAMPLE_RATE,
        "fmin": 0,
        "fmax": fmax,
    }


def small_vocoder_config(*, fmax: float | None = 8000) -> dict[str, Any]:
    """The same kind with few and narrow blocks: quick on a CPU, and of a short reach."""
    return vocoder_config(fmax=fmax) | {
        "upsample_rates": [8, 8, 4],
        "upsample_kernel_sizes": [16, 16, 8],
        "upsample_initial_channel": 64,
        "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 3], [1, 3]],
    }


def save_vocoder(folder: Path, config: dict[str, Any], *, folded: bool = False) -> Path:
    """`config.json` and `bigvgan_generator.pt` as NVIDIA publishes them.

    Args:
        folded: save plain weights, as some publish them, instead of normalised ones.
    """
    import torch

    torch.manual_seed(5)
    model = new_vocoder(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_(1.2)
        model.conv_post.weight_g.mul_(_gain(model, config["num_mels"]))
    if folded:
        model.remove_weight_norm()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save({"generator": model.state_dict()}, folder / "bigvgan_generator.pt")
    return folder


def new_vocoder(config: dict[str, Any]) -> Any:
    """NVIDIA's module."""
    from bigvgan.bigvgan import BigVGAN
    from bigvgan.env import AttrDict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return BigVGAN(AttrDict(config))


def _gain(model: Any, bands: int) -> float:
    """Brings noise in to half of full scale out."""
    import torch

    heard: list[float] = []
    hook = model.conv_post.register_forward_hook(lambda _m, _i, o: heard.append(o.abs().max()))
    model(torch.randn(1, bands, 32))
    hook.remove()
    return 0.4 / float(heard[0])


def fastpitch_config(
    tokenizer: dict[str, Any], *, speakers: int = 1, fmax: float | None = 8000
) -> dict[str, Any]:
    """NeMo's `fastpitch_align` configuration with tiny dimensions."""
    fft = {
        "n_layer": 2,
        "n_head": 1,
        "d_model": 32,
        "d_head": 16,
        "d_inner": 48,
        "kernel_size": 3,
        "dropout": 0.1,
        "dropatt": 0.1,
        "dropemb": 0.0,
    }
    modules = "nemo.collections.tts.modules"
    predictor = {
        "_target_": f"{modules}.fastpitch.TemporalPredictor",
        "input_size": 32,
        "kernel_size": 3,
        "filter_size": 32,
        "dropout": 0.1,
        "n_layers": 2,
    }
    return {
        "n_speakers": speakers,
        "learn_alignment": True,
        "n_mel_channels": BANDS,
        "max_token_duration": 75,
        "symbols_embedding_dim": 32,
        "pitch_embedding_kernel_size": 3,
        "text_tokenizer": tokenizer,
        "train_ds": {
            "defer_setup": True,
            "dataset": {"_target_": "nemo.collections.tts.data.dataset.TTSDataset"},
        },
        "preprocessor": preprocessor_config(fmax),
        "input_fft": {"_target_": f"{modules}.transformer.FFTransformerEncoder", **fft},
        "output_fft": {"_target_": f"{modules}.transformer.FFTransformerDecoder", **fft},
        "alignment_module": {
            "_target_": f"{modules}.aligner.AlignmentEncoder",
            "n_text_channels": 32,
            "n_mel_channels": BANDS,
        },
        "duration_predictor": predictor,
        "pitch_predictor": predictor,
    }


def preprocessor_config(fmax: float | None = 8000) -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "features": BANDS,
        "lowfreq": 0,
        "highfreq": fmax,
        "n_fft": 1024,
        "n_window_size": 1024,
        "window_size": False,
        "n_window_stride": HOP,
        "window_stride": False,
        "pad_to": 1,
        "pad_value": 0,
        "sample_rate": SAMPLE_RATE,
        "window": "hann",
        "normalize": None,
        "preemph": None,
        "dither": 0.0,
        "frame_splicing": 1,
        "log": True,
        "log_zero_guard_type": "add",
        "log_zero_guard_value": 1e-05,
        "mag_power": 1.0,
    }


def tokenizer_config(kind: str, folder: Path) -> dict[str, Any]:
    """A tokenizer section; dictionaries are written to `folder`.

    Args:
        kind: `arpabet`, `ipa`, or the name of one of NeMo's tokenizers of letters.
    """
    module = "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers"
    shared = {"punct": True, "apostrophe": True, "pad_with_space": True}
    if kind not in ("arpabet", "ipa"):
        return {"_target_": f"{module}.{kind}", **shared}
    dictionary, heteronyms = folder / f"{kind}.dict", folder / "heteronyms"
    column = 0 if kind == "arpabet" else 1
    dictionary.write_text(
        "".join(f"{word.upper()}  {spoken[column]}\n" for word, spoken in DICTIONARY.items()),
        encoding="utf-8",
    )
    heteronyms.write_text("lead\n")
    g2p = {"phoneme_dict": str(dictionary), "heteronyms": str(heteronyms)}
    models = "nemo.collections.tts.g2p.models"
    if kind == "arpabet":
        own = {"_target_": f"{models}.en_us_arpabet.EnglishG2p", "phoneme_probability": 0.5}
        return {
            "_target_": f"{module}.EnglishPhonemesTokenizer",
            **shared,
            "stresses": True,
            "chars": True,
            "g2p": g2p | own,
        }
    own = {"_target_": f"{models}.i18n_ipa.IpaG2p", "locale": "en-US", "use_chars": True}
    return {
        "_target_": f"{module}.IPATokenizer",
        **shared,
        "locale": "en-US",
        "g2p": g2p | own | {"phoneme_probability": 0.8, "use_stresses": True},
    }


def save_fastpitch(path: Path, config: dict[str, Any], *, frames: float = 5.0) -> Path:
    """A `.nemo` file of a model that gives each token about `frames` frames."""
    import math

    import torch
    from nemo.collections.tts.models import FastPitchModel
    from omegaconf import OmegaConf

    torch.manual_seed(3)
    model = FastPitchModel(OmegaConf.create(config))
    with torch.no_grad():
        model.fastpitch.duration_predictor.fc.bias.fill_(math.log1p(frames))
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_to(str(path))
    return path
