"""The services that calls are served by, with tones for words and for speech."""

from collections.abc import Iterator

import pytest

from services.asr.app import create_app as create_asr
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.services.asr.conftest import tones as asr_tones
from tests.services.serving import LiveService, serving
from tests.services.tts.conftest import tones as tts_tones


@pytest.fixture(scope="module")
def asr() -> Iterator[LiveService]:
    config = asr_tones()
    with serving(create_asr(config), config.limits) as service:
        yield service


@pytest.fixture(scope="module")
def tts() -> Iterator[LiveService]:
    config = TtsConfig(engines=tts_tones())
    with serving(create_tts(config), config.limits) as service:
        yield service
