"""The agents of the store take Twilio's calls: routed, journalled, recorded, put through."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from examples.twilio.__main__ import main
from examples.twilio.config import TwilioConfig
from examples.twilio.messages import FORMAT
from examples.twilio.signature import signature
from examples.voice_agent.agent_calls import agent_calls
from examples.voice_agent.agents_config import AgentsConfig
from examples.voice_agent.ports import Outcome
from examples.voice_agent.store.recording import Consent
from services.asr.app import create_app as create_asr
from services.asr.config import AdmissionConfig, AsrConfig
from services.shared.audio.pcm import AudioFormat, Encoding
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ServerConfig
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.asterisk_bridge.test_agent_calls import (
    free_port,
    hired,
    only_call,
    said,
    until,
    written,
)
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.twilio.network import (
    AUTH_TOKEN,
    CALLED,
    CALLER,
    PUBLIC,
    Caller,
    Network,
    calling,
    config_for,
    running,
)
from tests.examples.voice_agent.live_call import GREETING, agent, tone
from tests.services.asr.conftest import tones as asr_tones
from tests.services.serving import LiveService, serving
from tests.services.tts.conftest import tones as tts_tones

Services = tuple[LiveService, LiveService]
ANY = {"pattern": "_X."}


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    asr, tts = asr_tones(), TtsConfig(engines=tts_tones())
    with (
        serving(create_asr(asr), asr.limits) as hears,
        serving(create_tts(tts), tts.limits) as speaks,
    ):
        yield hears, speaks


@pytest.fixture(scope="module")
def real_services(model_store: ModelStore) -> Iterator[Services]:
    asr, tts = AsrConfig(admission=AdmissionConfig(enabled=False)), TtsConfig()
    quick = ServerConfig(drain_s=0.5)
    with (
        serving(create_asr(asr, model_store), asr.limits, quick) as hears,
        serving(create_tts(tts, model_store), tts.limits, quick) as speaks,
    ):
        yield hears, speaks


@asynccontextmanager
async def answering(
    file: Path, config: TwilioConfig | None = None, *, record: bool = False
) -> AsyncIterator[Network]:
    """What the program runs."""
    agents = AgentsConfig(settings=file, api=False, record=record)
    config = config or config_for(goodbye_s=10.0)  # machines of tests may be slow
    async with agent_calls(agents, FORMAT) as converse, running(converse, config) as network:
        yield network


QUIET = 0.5
"""Seconds after which somebody has said all."""


def loud(phone: Caller, begin_s: float = 0.0) -> bool:
    heard = phone.heard[round(begin_s * phone.rate) :]
    return bool(len(heard)) and float(abs(heard).max()) > 0.02


async def test_a_caller_talks_with_the_agent_and_it_is_in_the_store(
    services: Services, tmp_path: Path
) -> None:
    asr, tts = services
    file = written(tmp_path, asr.http, tts.http)
    with llm_server(Script([Line("w4", "It is ten.")])) as url:
        settings = await hired(file, agent(url), **ANY)
        async with answering(file, record=True) as network:
            async with calling(network, "?consent=given") as phone:

                async def greeted() -> bool:
                    return loud(phone)

                async def quiet_again() -> bool:
                    return len(phone.heard) >= QUIET * phone.rate and not loud(phone, -QUIET)

                await until(greeted)
                await until(quiet_again)
                asked_s = len(phone.heard) / phone.rate

                async def answered() -> bool:
                    return loud(phone, asked_s)

                phone.say(tone(1.0))
                await until(answered)
                await until(quiet_again)

            async def over() -> bool:
                return network.calls.live == 0

            await until(over)
    told = await only_call(settings)
    row = told.conversation.row
    assert (row.call_id, row.caller, row.called) == (phone.call_sid, CALLER, CALLED)
    assert (row.outcome, row.cause) == (Outcome.CALLER_HUNG_UP, "Normal Clearing")
    assert row.consent == Consent.GIVEN and row.recording is not None
    assert said(told, "agent") == [GREETING, "It is ten."]
    assert set(" ".join(said(told, "caller")).split()) == {"w4"}


async def test_nobody_is_responsible_so_twilio_says_so(tmp_path: Path) -> None:
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"), pattern="555")
    async with answering(file) as network:
        async with calling(network) as phone:
            await asyncio.wait_for(phone.over.wait(), 5)
        assert str((await network.after(phone.call_sid)).findtext("Say")).startswith("I am sorry")
    row = (await only_call(settings)).conversation.row
    assert (row.outcome, row.cause) == (Outcome.DECLINED, "no_route")


async def test_an_agent_that_cannot_work_is_apologised_for(tmp_path: Path) -> None:
    """Neither service is there, nobody has said a word, and there is nobody else."""
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"), **ANY)
    async with answering(file) as network:
        async with calling(network) as phone:
            await asyncio.wait_for(phone.over.wait(), 8)
        assert str((await network.after(phone.call_sid)).findtext("Say")).startswith("I am sorry")
    assert (await only_call(settings)).conversation.row.outcome == Outcome.FAILED


async def test_a_full_house_is_counted(tmp_path: Path) -> None:
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"), **ANY)
    async with answering(file, config_for(max_calls=0)) as network:
        await network.arrive()
    row = (await only_call(settings)).conversation.row
    assert (row.caller, row.outcome, row.cause) == (CALLER, Outcome.DECLINED, "busy")


@pytest.mark.slow
async def test_an_agent_puts_its_caller_through(services: Services, tmp_path: Path) -> None:
    asr, tts = services
    file = written(tmp_path, asr.http, tts.http)
    destinations = {"reception": {"target": "2000", "description": "a person"}}
    transfer = {
        "tools": ["transfer_call"],
        "tool_settings": {"transfer_call": {"destinations": destinations}},
    }
    line = Line("w4", tool="transfer_call", arguments={"destination": "reception"})
    with llm_server(Script([line])) as url:
        settings = await hired(file, agent(url, **transfer), **ANY)
        config = config_for(numbers={"2000": "+15550122"})
        async with answering(file, config) as network:
            async with calling(network) as phone:
                await asyncio.sleep(1.5)
                phone.say(tone(1.0))
                await asyncio.wait_for(phone.over.wait(), 15)
            told = await network.after(phone.call_sid)
            assert told.findtext("Dial/Number") == "+15550122"
    assert (await only_call(settings)).conversation.row.outcome == Outcome.TRANSFERRED


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_caller_is_understood_and_interrupts(
    real_services: Services, tmp_path: Path
) -> None:
    """Whisper and Piper; only the language model has a script."""
    asr, tts = real_services
    file = written(tmp_path, asr.http, tts.http)
    question, stop = [
        await spoken(tts, text)
        for text in ("When do you open in the morning?", "Wait, stop, please stop that.")
    ]
    long = "We open at nine in the morning. " + "Then there is breakfast until eleven. " * 6
    with llm_server(Script([Line("open", long), Line("stop", "All right.")])) as url:
        settings = await hired(file, agent(url, greeting="Front desk.", hearing={}), **ANY)
        async with answering(file) as network, calling(network) as phone:

            async def greeted() -> bool:
                return loud(phone)

            async def understood() -> bool:
                return "All right." in said(await only_call(settings), "agent")

            await until(greeted)
            await asyncio.sleep(1.5)
            phone.say(question)
            begin_s = phone.now_s() + len(question) / 8000 + 0.5

            async def answered() -> bool:
                return phone.now_s() > begin_s and loud(phone, begin_s)

            await until(answered)
            await asyncio.sleep(2.0)
            phone.say(stop)
            await until(understood, 20)
    told = await only_call(settings)
    assert "open" in said(told, "caller")[0].lower()
    interrupted = [turn for turn in told.turns if turn.interrupted_at_ms is not None]
    # On a slow machine the greeting may be, too.
    (cut,) = [turn for turn in interrupted if turn.text_generated == long.strip()]
    assert long.startswith(cut.text_spoken[:20]) and len(cut.text_spoken) < len(long) - 30


async def spoken(tts: LiveService, text: str) -> bytes:
    wanted = {"text": text, "format": "pcm", "sample_rate": 8000}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.post(f"{tts.http}/v1/synthesize", json=wanted)
    return FORMAT.encode(AudioFormat(Encoding.PCM_S16LE, 8000).decode(answer.content))


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_program_takes_calls_and_ends_when_told(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "twilio.yaml"
    config.write_text(
        f"{{server: {{port: {port}, public_url: '{PUBLIC}'}}, calls: {{drain_s: 0.5}}, "
        f"agents: {{settings: {written(tmp_path)}}}}}"
    )
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.twilio", "--config", str(config)),
        env={**os.environ, "TWILIO__ACCOUNT__AUTH_TOKEN": AUTH_TOKEN},
        stderr=asyncio.subprocess.PIPE,
    )
    form = {"CallSid": "CA1", "From": CALLER, "To": CALLED}
    signed = signature(AUTH_TOKEN, f"{PUBLIC}/twilio/voice", form.items())
    async with httpx.AsyncClient(trust_env=False) as http:

        async def serves() -> bool:
            try:
                answer = await http.get(f"http://127.0.0.1:{port}/health/live")
            except httpx.TransportError:
                return False
            return answer.status_code == 200

        await until(serves, 90.0)
        address, headers = f"http://127.0.0.1:{port}/twilio/voice", {"X-Twilio-Signature": signed}
        answer = await http.post(address, data=form, headers=headers)
        assert answer.status_code == 200 and "<Connect" in answer.text
    program.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        _, told = await program.communicate()
    assert program.returncode == 0, told.decode()
    assert b"twilio_ready" in told and AUTH_TOKEN.encode() not in told


def test_a_program_without_its_token_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "twilio.yaml"
    config.write_text(f"{{server: {{public_url: '{PUBLIC}'}}}}")
    assert main(["--config", str(config)]) == 2
    assert "TWILIO__ACCOUNT__AUTH_TOKEN" in capsys.readouterr().err
