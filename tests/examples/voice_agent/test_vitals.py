"""What is told of calls, counted from their journals, and of the process that carries them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from examples.asterisk_bridge.bridge import running_bridge
from examples.asterisk_bridge.config import BridgeConfig
from examples.voice_agent.inbox import Inbox
from examples.voice_agent.ports import AgentTurn, CallEnded, Entry, Outcome, TurnTimes
from examples.voice_agent.transport import AudioIn
from examples.voice_agent.vitals import Vitals, observing
from tests.examples.voice_agent.store.calls import ended, until, whole_call


def told(vitals: Vitals, name: str, **labels: str) -> float | None:
    return vitals.registry.get_sample_value(name, labels)


class Kept:
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def write(self, entry: Entry) -> None:
        self.entries.append(entry)


def test_a_journal_that_is_observed_gets_everything_and_its_calls_are_counted() -> None:
    vitals, kept = Vitals(), Kept()
    journal = vitals.observed(kept)
    for entry in whole_call():
        journal.write(entry)
    assert kept.entries == list(whole_call())
    for outcome in Outcome:  # those that have not been seen are there, too
        count = float(outcome is Outcome.CALLER_HUNG_UP)
        assert told(vitals, "voice_calls_ended_total", outcome=outcome) == count
    assert told(vitals, "voice_answer_seconds_count") == 1, "of three turns one was an answer"
    assert told(vitals, "voice_answer_seconds_sum") == pytest.approx(0.6)


@pytest.mark.parametrize(
    "times", [TurnTimes(), TurnTimes(speech_end_s=5.0), TurnTimes(wire_first_s=5.0)]
)
def test_what_was_not_asked_or_not_heard_is_no_answer(times: TurnTimes) -> None:
    vitals = Vitals()
    vitals.note(AgentTurn(9.0, 1, "answer", "Yes.", "", times=times))
    assert told(vitals, "voice_answer_seconds_count") == 0


def test_outcomes_are_told_apart() -> None:
    vitals = Vitals()
    for outcome in (Outcome.FAILED, Outcome.FAILED, Outcome.FALLBACK):
        vitals.note(CallEnded(1.0, outcome, "x", by_caller=False))
    vitals.note(ended())
    assert told(vitals, "voice_calls_ended_total", outcome="failed") == 2
    assert told(vitals, "voice_calls_ended_total", outcome="fallback") == 1


def test_audio_that_was_not_read_in_time_is_counted_in_seconds() -> None:
    vitals = Vitals()
    inbox = Inbox(8000, vitals.dropping(8000))
    for _ in range(75):
        inbox.put(AudioIn(bytes(160), 0.0))
    assert told(vitals, "voice_call_dropped_audio_seconds_total") == pytest.approx(0.5)


def test_what_keeps_calls_away_is_asked_each_time() -> None:
    vitals, trouble = Vitals(), [None, "the line is cut"]
    assert vitals.troubles() == []
    vitals.checks += [lambda: trouble[0], lambda: trouble[1]]
    assert vitals.troubles() == ["the line is cut"]
    trouble[1] = None
    assert vitals.troubles() == []


async def test_how_late_the_event_loop_is() -> None:
    async with observing() as vitals:
        await until(lambda: told(vitals, "voice_event_loop_lag_seconds_count"))
        time.sleep(0.2)  # noqa: ASYNC251 - this is what is measured
        await until(lambda: vitals.lag.worst_s > 0.05)
        async with observing(vitals) as same:
            assert same is vitals, "and nobody measures twice"
            assert sum(task.get_name() == "lag" for task in asyncio.all_tasks()) == 1
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "lag"]


@asynccontextmanager
async def bridge_without_asterisk(vitals: Vitals) -> AsyncIterator[None]:
    async def converse(transport: object) -> None:
        raise AssertionError("no call comes")

    config = BridgeConfig.model_validate({"ari": {"url": "http://127.0.0.1:1"}})

    async def run() -> None:
        async with running_bridge(config, converse, vitals):
            raise AssertionError("Asterisk is there")

    running = asyncio.create_task(run())
    await until(lambda: vitals.checks)
    yield
    running.cancel()
    await asyncio.wait([running])


async def test_a_bridge_without_asterisk_says_so() -> None:
    async with observing() as vitals, bridge_without_asterisk(vitals):
        assert told(vitals, "voice_asterisk_connected") == 0
        assert vitals.troubles() == ["Asterisk is away"]
