"""What the OpenAPI documents promise, schemathesis asks for, and everything beside it.

Three of its checks do not fit: that every server error is a fault (what a service was told not to
have is 501, what it has no room for 503), that no request that fits its schema is refused (a voice
may be unknown, an upload no audio), and that keys are needed (these services ask for none).
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from examples.voice_agent.api import app as api
from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.store.config import JournalConfig, RecordingConfig, StoreConfig
from examples.voice_agent.store.store import open_store
from tests.fuzz import live
from tests.fuzz.live import Watched

UNFIT = frozenset({"not_a_server_error", "positive_data_acceptance", "ignored_auth"})
OPERATIONS = {
    "asr": {
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "POST /v1/tokens",
        "POST /v1/transcribe",
    },
    "tts": {
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "POST /v1/tokens",
        "POST /v1/synthesize",
        "GET /v1/voices",
        "POST /v1/voices",
        "GET /v1/voices/{voice}",
        "PATCH /v1/voices/{voice}",
        "DELETE /v1/voices/{voice}",
        "GET /v1/voices/{voice}/sample",
        "GET /v1/lexicon",
        "GET /v1/lexicon/{language}",
        "PUT /v1/lexicon/{language}/{word}",
        "DELETE /v1/lexicon/{language}/{word}",
    },
}


Operation = APIOperation[Any, Any, Any, Any]
Case = schemathesis.Case[Any]


def operations(url: str) -> Iterator[Operation]:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        yield found.ok()


def cases(operation: Operation) -> st.SearchStrategy[Case]:
    """Requests that fit the document, and such that do not."""
    fitting: st.SearchStrategy[Case] = operation.as_strategy(
        generation_mode=GenerationMode.POSITIVE
    )
    if not operation.body and not operation.path_parameters and not operation.query:
        return fitting
    return fitting | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


def conforms(operation: Operation, inputs: int, unfit: Set[str] = UNFIT) -> set[int]:
    """Ask for it in so many ways; gives the statuses that were answered."""
    load_all_checks()
    known: list[Any] = list(CHECKS.get_all())
    checks = [check for check in known if check.__name__ not in unfit]
    statuses = set()

    @settings(
        max_examples=inputs,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(operation))
    def ask(case: Case) -> None:
        answer = case.call()
        case.validate_response(answer, checks=checks)
        assert answer.status_code != 500, answer.text
        statuses.add(answer.status_code)

    ask()
    return statuses


@pytest.mark.slow
@pytest.mark.timeout(180)
# Starlette leaves it to the garbage collector to close the file of a form that cannot be read.
@pytest.mark.filterwarnings("ignore:Unclosed file <tempfile:ResourceWarning")
@pytest.mark.parametrize("name", ["asr", "tts"])
def test_services_answer_as_documented(name: str) -> None:
    opened: Callable[[], AbstractContextManager[Watched]] = getattr(live, name)
    asked = {}
    with opened() as watched:
        for operation in operations(watched.service.http):
            asked[operation.label] = conforms(operation, 15)
            watched.unharmed()
    assert set(asked) == OPERATIONS[name]
    assert any(200 in statuses for statuses in asked.values())
    assert any(422 in statuses for statuses in asked.values())


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_agents_api_answers_as_documented(tmp_path: Path) -> None:
    # Times may also be given as numbers.
    unfit = UNFIT | {"negative_data_rejection"}
    with serving_agents(tmp_path) as url:
        asked = {each.label: conforms(each, 10, unfit) for each in operations(url)}
    assert asked["GET /v1/agents/{agent}"] <= {200, 404}
    assert 201 in asked["POST /v1/agents"]
    assert len(asked) == 19
    assert not any(500 in statuses for statuses in asked.values())


@contextmanager
def serving_agents(folder: Path) -> Iterator[str]:
    """The management API over a database of its own, on an event loop of its own; gives its URL."""
    store = StoreConfig(
        url=f"sqlite:///{folder}/agent.db",
        journal=JournalConfig(spool=folder / "spool", linger_s=0.01),
        recording=RecordingConfig(folder=folder / "recordings"),
    )
    urls: queue.Queue[str] = queue.Queue()
    stop = asyncio.Event()

    async def run() -> None:
        config = ApiConfig(port=0)
        async with (
            open_store(store, instance="fuzz") as opened,
            api.serving(api.create_app(opened, config), config) as url,
        ):
            urls.put(url)
            await stop.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield urls.get(timeout=20)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
