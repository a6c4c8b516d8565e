"""Chatterbox's networks from a folder or the hub."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.chatterbox.conditioning import VoiceTensors, read_builtin
from services.tts.engines.chatterbox.watermark import load_watermarker

REPOSITORY = "ResembleAI/chatterbox"
INSTALL = "install it with: uv sync --group chatterbox"
Precision = Literal["auto", "float32", "bfloat16", "float16"]

_BUILTIN = "conds.pt"
_CANGJIE = "Cangjie5_TC.json"
_COMPUTED = frozenset({"tokenizer._mel_filters", "tokenizer.window"})
"""What S3Gen computes itself and files may lack."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the models."""

    weights: str
    """Of the language model."""
    vocabulary: str
    """Of its text."""
    voice_encoder: tuple[str, str]
    speech: tuple[str, str]
    """The file that the library takes for this model, and what stands in for it."""
    multilingual: bool


ENGLISH = Variant(
    "t3_cfg.safetensors",
    "tokenizer.json",
    ("ve.safetensors", "ve.pt"),
    ("s3gen.safetensors", "s3gen.pt"),
    multilingual=False,
)
MULTILINGUAL = Variant(
    "t3_mtl23ls_v2.safetensors",
    "grapheme_mtl_merged_expanded_v1.json",
    ("ve.pt", "ve.safetensors"),
    ("s3gen.pt", "s3gen.safetensors"),
    multilingual=True,
)


@dataclass(frozen=True, slots=True)
class ChatterboxModels:
    """Everything that is loaded; requests share it and change nothing of it."""

    t3: Any
    s3gen: Any
    voice_encoder: Any
    tokenizer: Any
    clean: Callable[[str], str]
    """The library's repair of punctuation."""
    watermarker: Any
    builtin: VoiceTensors | None
    """The voice that came with the weights."""
    aligned_heads: Sequence[tuple[int, int]]
    """(layer, head) of T3 that follow the text."""
    multilingual: bool
    version: str
    """Of the weights."""


def open_models(
    model: str,
    revision: str | None,
    *,
    multilingual: bool = False,
    device: str = "cpu",
    precision: Precision = "auto",
) -> ChatterboxModels:
    """Load from a folder or the hub.

    Args:
        model: a folder, or a repository as `owner/name`.
        revision: the repository's commit.

    Raises:
        EngineUnavailable
    """
    variant = MULTILINGUAL if multilingual else ENGLISH
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
            raise EngineUnavailable(f"engines.chatterbox.model: there is no folder {folder}")
        if revision is None:
            raise EngineUnavailable(
                f"engines.chatterbox.model is {model}, which is no folder here; to fetch it from "
                "the hub, set engines.chatterbox.revision to the commit that you trust"
            )
        folder = fetch_models(model, revision, variant)
    return load_models(folder, variant, device=device, precision=precision)


def fetch_models(repository: str, revision: str, variant: Variant) -> Path:
    """The folder of a snapshot, downloaded when it is not there yet.

    Raises:
        EngineUnavailable: the hub cannot be reached and the files are not in its cache.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise EngineUnavailable(
            f"the chatterbox engine needs huggingface_hub; {INSTALL}"
        ) from error
    files = (variant.voice_encoder[0], variant.speech[0], variant.weights, variant.vocabulary)
    wanted = [*files, _BUILTIN]
    if variant.multilingual:
        wanted.append(_CANGJIE)
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except Exception as error:  # the hub raises errors of several libraries
        raise EngineUnavailable(
            f"{repository} at {revision} cannot be fetched ({error}); copy its files to a folder "
            "and set engines.chatterbox.model to it"
        ) from error


def load_models(
    folder: Path, variant: Variant, *, device: str = "cpu", precision: Precision = "auto"
) -> ChatterboxModels:
    """Load the networks from files.

    Args:
        precision: of the language model; the audio model is always float32. `auto`: bfloat16 on
            CUDA, else float32.

    Raises:
        EngineUnavailable: the library or a file is missing, or a file does not fit.
    """
    torch, library = _import()
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineUnavailable(
            f"engines.chatterbox.device is {device}, but torch {torch.__version__} sees no GPU; "
            "set it to cpu or install a CUDA build of torch"
        )
    watermarker = load_watermarker()
    weights = _find(folder, variant.weights)
    voices, speech = _find(folder, *variant.voice_encoder), _find(folder, *variant.speech)
    vocabulary = _find(folder, variant.vocabulary)
    config = library.T3Config
    t3 = library.T3(config.multilingual() if variant.multilingual else config.english_only())
    _fill(t3, weights)
    s3gen, encoder = library.S3Gen(), library.VoiceEncoder()
    _fill(s3gen, speech, may_lack=_COMPUTED)
    _fill(encoder, voices)
    if precision == "auto":
        precision = "bfloat16" if device.startswith("cuda") else "float32"
    builtin = folder / _BUILTIN
    return ChatterboxModels(
        t3=t3.to(device, getattr(torch, precision)).eval(),
        s3gen=s3gen.to(device).eval(),
        voice_encoder=encoder.to(device).eval(),
        tokenizer=_tokenizer(library, vocabulary, variant),
        clean=library.clean_multilingual if variant.multilingual else library.clean_english,
        watermarker=watermarker,
        builtin=read_builtin(builtin) if builtin.is_file() else None,
        aligned_heads=library.heads,
        multilingual=variant.multilingual,
        version=_version(weights, voices, speech, vocabulary),
    )


@dataclass(frozen=True, slots=True)
class _Library:
    T3: Any
    T3Config: Any
    S3Gen: Any
    VoiceEncoder: Any
    EnTokenizer: Any
    MTLTokenizer: Any
    Cangjie: Any
    clean_english: Callable[[str], str]
    clean_multilingual: Callable[[str], str]
    heads: Sequence[tuple[int, int]]


def _import() -> tuple[Any, _Library]:
    try:
        import torch
        from chatterbox import mtl_tts, tts
        from chatterbox.models.t3.inference.alignment_stream_analyzer import LLAMA_ALIGNED_HEADS
        from chatterbox.models.t3.modules.t3_config import T3Config
        from chatterbox.models.tokenizers.tokenizer import ChineseCangjieConverter
    except ImportError as error:
        raise EngineUnavailable(
            f"the chatterbox engine needs torch and chatterbox-tts ({error}); {INSTALL}"
        ) from error
    return torch, _Library(
        T3=tts.T3,
        T3Config=T3Config,
        S3Gen=tts.S3Gen,
        VoiceEncoder=tts.VoiceEncoder,
        EnTokenizer=tts.EnTokenizer,
        MTLTokenizer=mtl_tts.MTLTokenizer,
        Cangjie=ChineseCangjieConverter,
        clean_english=tts.punc_norm,
        clean_multilingual=mtl_tts.punc_norm,
        heads=tuple(LLAMA_ALIGNED_HEADS),
    )


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise EngineUnavailable(
        f"{folder} has no {' or '.join(names)}; engines.chatterbox.model must be a folder with the "
        f"files of {REPOSITORY}"
    )


def _fill(module: Any, path: Path, may_lack: frozenset[str] = frozenset()) -> None:
    """Load weights; every one must fit."""
    state = _read(path)
    try:
        result = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise EngineUnavailable(f"{path} does not fit the model: {error}") from error
    missing = set(result.missing_keys) - may_lack
    if missing or result.unexpected_keys:
        raise EngineUnavailable(
            f"{path} does not fit the model: {len(missing)} weights are missing "
            f"({', '.join(sorted(missing)[:3])}), {len(result.unexpected_keys)} are unknown "
            f"({', '.join(sorted(result.unexpected_keys)[:3])})"
        )


def _read(path: Path) -> Any:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, SafetensorError, UnpicklingError) as error:
        raise EngineUnavailable(f"{path} cannot be read: {error}") from error


def _tokenizer(library: _Library, vocabulary: Path, variant: Variant) -> Any:
    try:
        if not variant.multilingual:
            return library.EnTokenizer(str(vocabulary))
        return _multilingual_tokenizer(library, vocabulary)
    except EngineUnavailable:
        raise
    except Exception as error:  # the tokenizers library raises plain Exceptions
        raise EngineUnavailable(f"{vocabulary} cannot be read: {error}") from error


def _multilingual_tokenizer(library: _Library, vocabulary: Path) -> Any:
    """The library's constructor asks the hub for the table of Chinese characters, wherever the
    other files are, and goes on without it; here it comes from the folder."""
    from tokenizers import Tokenizer

    made = library.MTLTokenizer.__new__(library.MTLTokenizer)
    made.tokenizer = Tokenizer.from_file(str(vocabulary))
    made.check_vocabset_sot_eot()
    table = vocabulary.with_name(_CANGJIE)
    if table.is_file():
        made.cangjie_converter = read_cangjie(library.Cangjie, table)
    return made


def read_cangjie(kind: Any, table: Path) -> Any:
    """The converter of Chinese characters of the class `kind`, with the table of a file."""
    made = kind.__new__(kind)
    made.word2cj, made.cj2word = {}, {}
    for entry in json.loads(table.read_text(encoding="utf-8")):
        word, code = entry.split("\t")[:2]
        made.word2cj[word] = code
        made.cj2word.setdefault(code, []).append(word)
    made._init_segmenter()
    return made


def _version(*files: Path) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
