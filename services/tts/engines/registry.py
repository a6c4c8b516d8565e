"""The synthesisers by name: a closed list, each imported only when it is enabled."""

from pathlib import Path
from typing import TYPE_CHECKING

from services.shared.models.store import ModelStore
from services.tts.engines.base import EngineUnavailable, TtsEngine

if TYPE_CHECKING:
    from services.tts.config import EnginesConfig, PiperEngineConfig


def create_engines(config: "EnginesConfig", store: ModelStore) -> tuple[TtsEngine, ...]:
    """Build the enabled engines; nothing is loaded yet.

    Raises:
        EngineUnavailable: none is enabled, or a voice's model is no file.
        ModelError: a model of the catalogue is missing or corrupt.
    """
    engines: list[TtsEngine] = []
    if config.piper.enabled:
        engines.append(_piper(config.piper, store))
    if config.fake.enabled:
        from services.tts.engines.fake import FakeEngine

        engines.append(FakeEngine(delay_s=config.fake.delay_ms / 1000))
    if not engines:
        names = ", ".join(type(config).model_fields)
        raise EngineUnavailable(f"no engine is enabled; set engines.<name>.enabled, of: {names}")
    return tuple(engines)


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
