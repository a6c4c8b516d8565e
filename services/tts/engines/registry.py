"""The synthesisers by name: a closed list, each imported only when it is enabled."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.shared.models.store import ModelStore
from services.shared.runtime.config import LogConfig
from services.tts.engines.base import EngineUnavailable, TtsEngine

if TYPE_CHECKING:
    from services.tts.config import (
        ChatterboxEngineConfig,
        EngineConfig,
        EnginesConfig,
        FakeEngineConfig,
        FastPitchEngineConfig,
        FastPitchOnnxEngineConfig,
        IsolationConfig,
        KokoroEngineConfig,
        MannerConfig,
        PiperEngineConfig,
    )

KOKORO_VOICES = "kokoro-voices"
"""The catalogue's model that holds Kokoro's voices."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What engines in processes of their own need to know."""

    policy: "IsolationConfig"
    log: LogConfig = field(default_factory=LogConfig)
    restarted: Callable[[str], None] = lambda _: None
    """Told the name of an engine whose process has to be started again."""


def create_engines(
    config: "EnginesConfig", store: ModelStore, isolation: Isolation | None = None
) -> tuple[TtsEngine, ...]:
    """Build the enabled engines; nothing is loaded yet.

    Args:
        isolation: None: by the defaults.

    Raises:
        EngineUnavailable: none is enabled, or a voice's model is no file.
        ModelError: a model of the catalogue is missing or corrupt.
    """
    engines: list[TtsEngine] = []
    for name in type(config).model_fields:
        section: EngineConfig = getattr(config, name)
        if section.enabled:
            make = partial(_MAKERS[name], section, store)
            isolated = section.in_own_process
            engines.append(_isolate(name, section, make, isolation) if isolated else make())
    if not engines:
        names = ", ".join(_MAKERS)
        raise EngineUnavailable(f"no engine is enabled; set engines.<name>.enabled, of: {names}")
    return tuple(engines)


def _isolate(
    name: str, config: "EngineConfig", make: Callable[[], TtsEngine], isolation: Isolation | None
) -> TtsEngine:
    from services.tts.config import IsolationConfig
    from services.tts.engines.isolated import IsolatedEngine

    wanted = isolation or Isolation(IsolationConfig())
    return IsolatedEngine(
        make,
        wanted.policy,
        threads=getattr(config, "threads", 1),
        log_config=wanted.log,
        restarted=partial(wanted.restarted, name),
    )


def _fake(config: "FakeEngineConfig", store: ModelStore) -> TtsEngine:
    from services.tts.engines.fake import FakeEngine

    return FakeEngine(
        delay_s=config.delay_ms / 1000, cloning=config.cloning, weights=config.weights
    )


def _piper(config: "PiperEngineConfig", store: ModelStore) -> TtsEngine:
    from services.tts.engines.piper import PiperEngine, PiperSource

    sources = [
        PiperSource(
            id=voice.id,
            name=voice.name,
            model=find_model(voice.model, ".onnx", store),
            language=voice.language,
            licence=voice.licence,
            sample=voice.sample,
            speaker=voice.speaker,
            gain_db=voice.gain_db,
        )
        for voice in config.voices
    ]
    return PiperEngine(
        sources,
        threads=config.threads,
        lanes=config.lanes,
        max_characters=config.max_characters,
    )


def _kokoro(config: "KokoroEngineConfig", store: ModelStore) -> TtsEngine:
    from services.tts.engines.kokoro import KokoroEngine, KokoroSource

    sources = [
        KokoroSource(
            id=voice.id,
            name=voice.name,
            styles=_find_styles(voice.styles, store),
            language=voice.language,
            licence=voice.licence,
            sample=voice.sample,
            gain_db=voice.gain_db,
        )
        for voice in config.voices
    ]
    return KokoroEngine(
        find_model(config.model, ".onnx", store),
        sources,
        threads=config.threads,
        lanes=config.lanes,
        max_characters=config.max_characters,
    )


def _chatterbox(config: "ChatterboxEngineConfig", store: ModelStore) -> TtsEngine:
    from services.tts.engines.chatterbox.engine import ChatterboxEngine, ChatterboxSource, Manner
    from services.tts.engines.chatterbox.models import open_models

    def manner(of: "MannerConfig") -> Manner:
        return Manner(of.exaggeration, of.cfg_weight, of.temperature)

    sources = [
        ChatterboxSource(
            id=voice.id,
            name=voice.name,
            language=voice.language,
            manner=manner(voice),
            conditioning=voice.conditioning,
            licence=voice.licence,
            sample=voice.sample,
        )
        for voice in config.voices
    ]
    models = partial(
        open_models,
        config.model,
        config.revision,
        multilingual=config.multilingual,
        device=config.device,
        precision=config.precision,
    )
    return ChatterboxEngine(
        models,
        sources,
        manner=manner(config.cloned),
        lanes=config.lanes,
        multilingual=config.multilingual,
        max_characters=config.max_characters,
        threads=config.threads,
        block=config.block,
    )


def _fastpitch(config: "FastPitchEngineConfig", store: ModelStore) -> TtsEngine:
    from services.tts.engines.fastpitch.engine import FastPitchEngine, FastPitchSource

    return FastPitchEngine(
        [FastPitchSource(**dict(voice)) for voice in config.voices],
        device=config.device,
        cuda_kernel=config.cuda_kernel,
        threads=config.threads,
        lanes=config.lanes,
        max_characters=config.max_characters,
    )


def _fastpitch_onnx(config: "FastPitchOnnxEngineConfig", store: ModelStore) -> TtsEngine:
    from services.tts.engines.fastpitch.onnx_engine import ExportedSource, FastPitchOnnxEngine

    return FastPitchOnnxEngine(
        [ExportedSource(**dict(voice)) for voice in config.voices],
        device=config.device,
        threads=config.threads,
        lanes=config.lanes,
        max_characters=config.max_characters,
    )


_MAKERS: dict[str, Callable[[Any, ModelStore], TtsEngine]] = {
    "piper": _piper,
    "kokoro": _kokoro,
    "fake": _fake,
    "chatterbox": _chatterbox,
    "fastpitch": _fastpitch,
    "fastpitch_onnx": _fastpitch_onnx,
}
"""By the names of `EnginesConfig`'s sections, each of which its maker gets."""


def _find_styles(styles: str, store: ModelStore) -> Path:
    """A path to a voice of Kokoro, or one by its name in the catalogue."""
    path = Path(styles).expanduser()
    if path.suffix == ".bin":
        if not path.is_file():
            raise EngineUnavailable(f"voice {path} does not exist")
        return path
    names = {file.path.removesuffix(".bin") for file in store.catalogue.get(KOKORO_VOICES).files}
    if styles not in names:
        raise EngineUnavailable(
            f"kokoro has no voice {styles!r}; {KOKORO_VOICES} has {', '.join(sorted(names))}"
        )
    return store.require(KOKORO_VOICES) / f"{styles}.bin"


def find_model(model: str, suffix: str, store: ModelStore) -> Path:
    """The file that `model` means: a path, or the one with `suffix` of a model in the catalogue."""
    path = Path(model).expanduser()
    if path.suffix == suffix:
        if not path.is_file():
            raise EngineUnavailable(f"voice model {path} does not exist")
        return path
    folder = store.require(model)
    found = sorted(folder.glob(f"*{suffix}"))
    if len(found) != 1:
        raise EngineUnavailable(f"model {model} has {len(found)} files *{suffix}; expected one")
    return found[0]
