"""Which engine makes a new voice, and how it is refused where none can."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.shared.models.store import ModelStore
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.tts.cloning.maker import VoiceMaker, Wish
from services.tts.cloning.shelf import VoiceShelf
from services.tts.config import ReferenceConfig, VoicesConfig
from services.tts.engines.fake import FakeEngine
from services.tts.metrics import TtsMetrics
from services.tts.speakers import Speaker


def maker(folder: Path, *, cloning: bool) -> VoiceMaker:
    engine = FakeEngine(cloning=cloning)
    engine.load()
    speakers = {"fake": Speaker(engine, TtsMetrics(CollectorRegistry()), 10.0)}
    config = VoicesConfig.model_validate({"store": str(folder / "voices")})
    shelf = VoiceShelf(config, speakers, lambda _: None)
    return VoiceMaker(ReferenceConfig(vad="energy"), ModelStore(folder), shelf, speakers)


def wish(language: str = "en-US", engine: str | None = None) -> Wish:
    return Wish("Ada", language, "agreed", engine)


@pytest.mark.parametrize("engine", [None, "fake"])
def test_the_engine_that_clones_and_speaks_the_language_is_taken(
    tmp_path: Path, engine: str | None
) -> None:
    made = maker(tmp_path, cloning=True)
    assert made.choose(wish(engine=engine)).engine.name == "fake"
    made.close()


@pytest.mark.parametrize(
    ("cloning", "wanted", "code", "told"),
    [
        (True, wish("tlh"), ErrorCode.UNSUPPORTED_LANGUAGE, "can speak tlh; there are .*en"),
        (True, wish(engine="piper"), ErrorCode.CLONING_UNSUPPORTED, "engines that clone: fake"),
        (False, wish(), ErrorCode.CLONING_UNSUPPORTED, "no engine .* e.g. chatterbox"),
        (False, wish(engine="fake"), ErrorCode.CLONING_UNSUPPORTED, "'fake' cannot clone"),
    ],
)
def test_refusals_say_what_could_be_done(
    tmp_path: Path, cloning: bool, wanted: Wish, code: ErrorCode, told: str
) -> None:
    made = maker(tmp_path, cloning=cloning)
    with pytest.raises(ProtocolError, match=told) as caught:
        made.choose(wanted)
    assert caught.value.code is code
    made.close()
