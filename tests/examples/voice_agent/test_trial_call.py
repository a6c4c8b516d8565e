"""The doctor's call: real services, a real conversation, no telephone."""

from collections.abc import Iterator

import pytest

from examples.voice_agent.cli.checkup import examine
from examples.voice_agent.endpoints import SpeechServices
from examples.voice_agent.findings import State
from examples.voice_agent.settings import AgentSettings
from examples.voice_agent.store.config import StoreConfig
from examples.voice_agent.store.store import open_store
from examples.voice_agent.trial_call import place_trial_call
from services.asr.app import create_app as create_asr
from services.asr.config import AdmissionConfig, AsrConfig
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ServerConfig
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import agent
from tests.services.asr.conftest import tones as asr_tones
from tests.services.serving import LiveService, serving
from tests.services.tts.conftest import tones as tts_tones

NOWHERE = "ws://127.0.0.1:1"


@pytest.fixture(scope="module")
def services() -> Iterator[SpeechServices]:
    asr, tts = asr_tones(), TtsConfig(engines=tts_tones())
    with (
        serving(create_asr(asr), asr.limits) as hears,
        serving(create_tts(tts), tts.limits) as speaks,
    ):
        yield SpeechServices(hears.ws, speaks.ws)


@pytest.mark.slow
async def test_a_call_tells_what_was_heard_and_said_and_how_long_it_took(
    services: SpeechServices,
) -> None:
    with llm_server(Script(otherwise="At nine.")) as url:
        done = await place_trial_call(agent(url), services)
    assert done.problem is None
    assert done.said == "At nine."
    assert set(done.heard.split()[0]) <= set("w0123456789")
    assert list(done.stages) == ["recognised", "first word", "first sound", "sent"]
    assert done.answer_s is not None and done.answer_s < 3.0
    assert sum(done.stages.values()) <= done.answer_s + 0.5


@pytest.mark.slow
async def test_a_model_that_fails_is_named(services: SpeechServices) -> None:
    with llm_server(Script([Line("", status=500)])) as url:
        done = await place_trial_call(agent(url), services)
    assert done.problem is not None and "llm_failed" in done.problem
    assert done.heard and not done.said


async def test_services_that_are_away_are_named() -> None:
    done = await place_trial_call(agent("http://127.0.0.1:1"), SpeechServices(NOWHERE, NOWHERE))
    assert done.problem is not None and "gave_up" in done.problem


@pytest.fixture(scope="module")
def real_asr(model_store: ModelStore) -> Iterator[LiveService]:
    config = AsrConfig(admission=AdmissionConfig(enabled=False))
    app = create_asr(config, model_store)
    with serving(app, config.limits, ServerConfig(drain_s=0.5)) as service:
        yield service


@pytest.fixture(scope="module")
def real_tts(model_store: ModelStore) -> Iterator[LiveService]:
    config = TtsConfig()
    app = create_tts(config, model_store)
    with serving(app, config.limits, ServerConfig(drain_s=0.5)) as service:
        yield service


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_doctor_calls_each_agent(
    real_asr: LiveService, real_tts: LiveService, tmp_path: object
) -> None:
    """Whisper hears the bundled question, Piper answers it."""
    store = StoreConfig(url=f"sqlite:///{tmp_path}/agent.db")
    settings = AgentSettings(asr_url=real_asr.http, tts_url=real_tts.http, store=store)
    with llm_server(Script([Line("open", "We open at nine.")])) as url:
        async with open_store(store, instance="setup") as opened:
            await opened.agents.create(agent(url, hearing={}))
        findings = {each.what: each for each in await examine(settings)}
    call = findings["trial call to test"]
    assert call.state is not State.FAIL, call
    assert "open tomorrow" in call.found and "“We open at nine.”" in call.found
