"""What the agent hears of services behind a real nginx, which has both at one address."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from examples.voice_agent.cli.checkup import examine
from examples.voice_agent.findings import Finding, State
from examples.voice_agent.readiness import Readiness
from examples.voice_agent.settings import AgentSettings
from examples.voice_agent.store.config import StoreConfig
from services.balancer.plan import ClientLimits, Plan
from services.balancer.process import BalancerFailed, balancing, find_nginx
from services.cli.processes import free_port
from tests.services.serving import LiveService, eventually

Front = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture(scope="module", autouse=True)
def nginx() -> None:
    try:
        find_nginx()
    except BalancerFailed as error:
        pytest.skip(str(error))


@pytest.fixture
def front(asr: LiveService, tts: LiveService, tmp_path: Path) -> Front:
    """Gives its address."""

    @asynccontextmanager
    async def start(limits: ClientLimits | None = None) -> AsyncIterator[str]:
        address = f"127.0.0.1:{free_port()}"
        plan = Plan(
            asr=(asr.address,),
            tts={"default": (tts.address,)},
            listen=address,
            limits=limits or ClientLimits(),
        )
        async with balancing(plan, tmp_path):
            yield f"http://{address}"

    return start


async def test_a_service_that_takes_nobody_is_heard_of(
    front: Front, asr: LiveService, tts: LiveService
) -> None:
    async with front() as url, Readiness({"asr": url, "tts": url}, every_s=0.05) as readiness:
        for name, service in (("asr", asr), ("tts", tts)):
            service.lifecycle.checks.append(late := lambda: "too late")
            try:
                told = f"{name}: too late"
                async with asyncio.timeout(5):
                    while readiness.refusal != told:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            finally:
                service.lifecycle.checks.remove(late)
            await eventually(lambda: readiness.refusal is None)


async def examined(url: str, folder: Path) -> dict[str, Finding]:
    store = StoreConfig(url=f"sqlite:///{folder}/agent.db")
    settings = AgentSettings(asr_url=url, tts_url=url, store=store)
    return {each.what: each for each in await examine(settings, call=False)}


async def test_the_doctor_finds_them_ready(front: Front, asr: LiveService, tmp_path: Path) -> None:
    async with front() as url:
        found = await examined(url, tmp_path)
        assert (found["ASR"].state, found["TTS"].state) == (State.OK, State.OK)
        asr.lifecycle.checks.append(late := lambda: "too late")
        try:
            found = await examined(url, tmp_path)
        finally:
            asr.lifecycle.checks.remove(late)
        assert (found["ASR"].state, found["ASR"].found) == (State.FAIL, f"{url}: too late")
        assert found["TTS"].state is State.OK


async def test_the_doctor_does_not_take_a_stranger_for_a_fault(
    front: Front, tmp_path: Path
) -> None:
    async with front(ClientLimits(trusted=())) as url:
        asr = (await examined(url, tmp_path))["ASR"]
    assert asr.state is State.WARN and "(404)" in asr.found
    assert asr.remedy is not None and "--trust" in asr.remedy
