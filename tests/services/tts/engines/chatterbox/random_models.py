"""Chatterbox's real networks, small and with random weights.

Two things are set by hand, so that there is something to be right about: one head of the language
model attends to text token `ALIGNMENT * n` while it speaks token n (the real heads do this by
training), and the vocoder's last layer is loud enough to be heard.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chatterbox.models.s3gen import S3Gen
from chatterbox.models.s3gen.configs import CFM_PARAMS
from chatterbox.models.s3gen.decoder import ConditionalDecoder
from chatterbox.models.s3gen.f0_predictor import ConvRNNF0Predictor
from chatterbox.models.s3gen.flow import CausalMaskedDiffWithXvec
from chatterbox.models.s3gen.flow_matching import CausalConditionalCFM
from chatterbox.models.s3gen.hifigan import HiFTGenerator
from chatterbox.models.s3gen.transformer.upsample_encoder import UpsampleConformerEncoder
from chatterbox.models.s3tokenizer import S3Tokenizer
from chatterbox.models.t3 import T3
from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS
from chatterbox.models.t3.modules.t3_config import T3Config
from chatterbox.models.tokenizers import EnTokenizer, MTLTokenizer
from chatterbox.models.voice_encoder import VoiceEncoder
from chatterbox.tts import punc_norm
from s3tokenizer.model_v2 import ModelConfig

from services.tts.engines.chatterbox.conditioning import VoiceTensors
from services.tts.engines.chatterbox.models import ChatterboxModels

TINY = "Llama_tiny"
ALIGNMENT = 0.8
"""Text tokens for each speech token."""
HEAD = (1, 1)
_WIDTH, _HEAD_WIDTH = 64, 32
_WAVES = 6
"""Rotary pairs that turn so slowly that they carry positions as they are."""


def tiny_t3(*, multilingual: bool = False, seed: int = 0) -> Any:
    """T3 with three layers of width 64 and no resampler."""
    LLAMA_CONFIGS[TINY] = LLAMA_CONFIGS["Llama_520M"] | {
        "hidden_size": _WIDTH,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": _HEAD_WIDTH,
    }
    torch.manual_seed(seed)
    config = T3Config.multilingual() if multilingual else T3Config.english_only()
    config.llama_config_name = TINY
    config.use_perceiver_resampler = False
    t3 = T3(config).eval()
    with torch.no_grad():
        t3.speech_head.weight.mul_(3)
        for layer in t3.tfmr.layers:  # as drawn, what is attended to hardly matters
            layer.self_attn.v_proj.weight.mul_(8)
            layer.self_attn.o_proj.weight.mul_(8)
        _align(t3)
    return t3


def _align(t3: Any) -> None:
    """Let HEAD look at the text at ALIGNMENT times the speech position."""
    waves = 2 * np.pi / np.geomspace(40, 1200, _WAVES)
    layer, head = HEAD

    def places(count: int, scale: float) -> torch.Tensor:
        angles = np.outer(np.arange(count) * scale, waves)
        return torch.tensor(np.hstack([np.cos(angles), np.sin(angles)]), dtype=torch.float32)

    text, speech = t3.text_pos_emb.emb.weight, t3.speech_pos_emb.emb.weight
    own = slice(0, 2 * _WAVES)
    for embedding in (t3.text_emb.weight, t3.speech_emb.weight):
        embedding[:, own] = 0
        embedding[:, 2 * _WAVES] = 0
    text[:, own] = 3 * places(len(text), 1.0)
    speech[:, own] = 3 * places(len(speech), ALIGNMENT)
    text[:, 2 * _WAVES] = 6  # a mark by which the head tells text from speech
    speech[:, 2 * _WAVES] = 0
    attention = t3.tfmr.layers[layer].self_attn
    half = _HEAD_WIDTH // 2
    slow = torch.arange(half - _WAVES, half)
    rows = head * _HEAD_WIDTH + torch.cat([slow, half + slow])
    for projection, gain in ((attention.q_proj, 8.0), (attention.k_proj, 8.0)):
        block = projection.weight[head * _HEAD_WIDTH : (head + 1) * _HEAD_WIDTH]
        block.zero_()
        projection.weight[rows, torch.arange(2 * _WAVES)] = gain
    for earlier in t3.tfmr.layers[:layer]:  # what comes before leaves the positions alone
        earlier.self_attn.o_proj.weight[: 2 * _WAVES + 1] = 0
        earlier.mlp.down_proj.weight[: 2 * _WAVES + 1] = 0


def small_flow(seed: int = 0) -> Any:
    """The flow with one layer of each kind."""
    torch.manual_seed(seed)
    encoder = UpsampleConformerEncoder(
        output_size=512,
        attention_heads=4,
        linear_units=64,
        num_blocks=1,
        dropout_rate=0.1,
        positional_dropout_rate=0.1,
        attention_dropout_rate=0.1,
        normalize_before=True,
        input_layer="linear",
        pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="rel_selfattn",
        input_size=512,
        use_cnn_module=False,
        macaron_style=False,
    )
    encoder.up_encoders = encoder.up_encoders[:1]
    estimator = ConditionalDecoder(
        in_channels=320,
        out_channels=80,
        channels=[32],
        n_blocks=1,
        num_mid_blocks=1,
        num_heads=2,
        attention_head_dim=16,
    )
    decoder = CausalConditionalCFM(spk_emb_dim=80, cfm_params=CFM_PARAMS, estimator=estimator)
    return CausalMaskedDiffWithXvec(encoder=encoder, decoder=decoder).eval()


def small_hift(seed: int = 0, *, channels: int = 32) -> Any:
    """The vocoder with its own depth, rates and kernels, and few channels."""
    torch.manual_seed(seed)
    hift = HiFTGenerator(
        base_channels=channels,
        sampling_rate=24_000,
        upsample_rates=[8, 5, 3],
        upsample_kernel_sizes=[16, 11, 7],
        source_resblock_kernel_sizes=[7, 7, 11],
        source_resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5], [1, 3, 5]],
        f0_predictor=ConvRNNF0Predictor(cond_channels=16),
    ).eval()
    with torch.no_grad():
        hift.f0_predictor.classifier.bias.fill_(150.0)
        hift.f0_predictor.classifier.weight.mul_(200)
        hift.conv_post.bias[:9] += 0.5
    return hift


def small_s3gen(seed: int = 0) -> Any:
    """S3Gen's parts, small; the speaker encoder has its real size."""
    s3gen = S3Gen.__new__(S3Gen)
    torch.nn.Module.__init__(s3gen)
    from chatterbox.models.s3gen.utils.mel import mel_spectrogram
    from chatterbox.models.s3gen.xvector import CAMPPlus

    torch.manual_seed(seed)
    s3gen.tokenizer = S3Tokenizer(
        "speech_tokenizer_v2_25hz", ModelConfig(n_audio_state=64, n_audio_head=1, n_audio_layer=1)
    )
    s3gen.mel_extractor = mel_spectrogram
    s3gen.speaker_encoder = CAMPPlus(memory_efficient=False)
    s3gen.meanflow = False
    s3gen.resamplers = {}
    s3gen.flow = small_flow(seed)
    s3gen.mel2wav = small_hift(seed)
    return s3gen.eval()


def write_vocabulary(folder: Path, *, multilingual: bool = False) -> Path:
    """A tokenizer's file with a token for each character."""
    special = {"[STOP]": 0, "[UNK]": 1, "[SPACE]": 2, "[START]": 255}
    if multilingual:
        special |= {f"[{tag}]": 256 + n for n, tag in enumerate(("en", "de", "fr"))}
    characters = [chr(code) for code in range(33, 127)] + list("äöüßéè’")
    vocabulary = special | {char: 3 + n for n, char in enumerate(characters)}
    added = [
        {
            "id": number,
            "content": name,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for name, number in special.items()
    ]
    content = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "."},
            "behavior": "Isolated",
            "invert": False,
        },
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def random_tokenizer(folder: Path, *, multilingual: bool = False) -> Any:
    """The library's, over such a file."""
    english = EnTokenizer(str(write_vocabulary(folder, multilingual=multilingual)))
    if not multilingual:
        return english
    # Its constructor asks the hub for the Chinese characters.
    tokenizer = MTLTokenizer.__new__(MTLTokenizer)
    tokenizer.tokenizer = english.tokenizer
    return tokenizer


def random_voice(seed: int = 0, tokens: int = 30) -> VoiceTensors:
    """A voice that nobody has."""
    rng = np.random.default_rng(seed)
    return VoiceTensors(
        speaker=rng.standard_normal((1, 256), dtype=np.float32) / np.float32(16),
        prompt_tokens=rng.integers(0, 6561, (1, 20), dtype=np.int32),
        reference_tokens=rng.integers(0, 6561, (1, tokens), dtype=np.int32),
        reference_mel=rng.standard_normal((1, 2 * tokens, 80), dtype=np.float32),
        timbre=rng.standard_normal((1, 192), dtype=np.float32),
    )


def random_models(
    folder: Path, watermarker: Any, *, multilingual: bool = False
) -> ChatterboxModels:
    """All of it; the watermarker is the real one."""
    torch.manual_seed(0)
    return ChatterboxModels(
        t3=tiny_t3(multilingual=multilingual),
        s3gen=small_s3gen(),
        voice_encoder=VoiceEncoder().eval(),
        tokenizer=random_tokenizer(folder, multilingual=multilingual),
        clean=punc_norm,
        watermarker=watermarker,
        builtin=random_voice(),
        aligned_heads=(HEAD,),
        multilingual=multilingual,
        version="random",
    )
