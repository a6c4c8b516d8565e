"""The ASR service live, with tones for words."""

from collections.abc import Iterator

import pytest

from services.asr.app import create_app
from services.asr.config import ResumeConfig
from tests.services.asr.conftest import tones
from tests.services.serving import LiveService, serving


@pytest.fixture(scope="module")
def asr() -> Iterator[LiveService]:
    config = tones(resume=ResumeConfig(window_s=1.0, max_parked=1000))
    with serving(create_app(config), config.limits) as service:
        yield service
