"""Entries reach the database once and in order, whatever the database does meanwhile."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from examples.voice_agent.ports import CallerTurn, Entry, Happened
from examples.voice_agent.store.config import JournalConfig, Prices, StoreConfig, TokenPrice
from examples.voice_agent.store.conversations import Conversations
from examples.voice_agent.store.database import Database
from examples.voice_agent.store.journal import JournalWriter
from examples.voice_agent.store.migrate import upgrade
from examples.voice_agent.store.records import CallContext
from tests.examples.voice_agent.store.calls import BEGAN_S, UNIX_S, began, ended, until, whole_call
from tests.examples.voice_agent.store.conftest import PostgresServer, count

PRICES = Prices(
    currency="USD",
    asr_minute=Decimal("0.006"),
    tts_million_characters=Decimal(15),
    models={
        "default": TokenPrice(
            prompt=Decimal("0.20"), cached=Decimal("0.05"), completion=Decimal("0.80")
        )
    },
)


def write(journal: JournalWriter, name: str, *entries: Entry) -> None:
    call = journal.journal(CallContext(name, journal.instance))
    for entry in entries:
        call.write(entry)


async def test_a_call_is_stored_as_it_happened(database: Database) -> None:
    priced = Database(database.config.model_copy(update={"prices": PRICES}))
    async with JournalWriter(priced, instance="a") as journal:
        call = journal.journal(CallContext("one", "a", consent="given"))
        for entry in whole_call():
            call.write(entry)
        call.note(recording="2026-11-21/one.wav")
    await priced.close()
    found = await Conversations(database).transcript("one")
    row = found.conversation.row
    assert row.started_at.timestamp() == UNIX_S
    assert row.answered_at is not None and row.ended_at is not None
    assert (row.ended_at - row.started_at).total_seconds() == pytest.approx(30)
    assert (row.outcome, row.cause, row.ended_by_caller) == (
        "caller_hung_up",
        "Normal Clearing",
        True,
    )
    assert (row.consent, row.recording) == ("given", "2026-11-21/one.wav")
    assert row.variables == {"CHANNEL": "PJSIP/trunk-1"}
    assert [(turn.turn, turn.role, turn.kind) for turn in found.turns] == [
        (1, "agent", "greeting"),
        (2, "caller", "speech"),
        (3, "agent", "answer"),
        (4, "caller", "keys"),
    ]
    answer = found.turns[2]
    assert answer.text_generated.endswith("tomorrow.")
    assert answer.text_spoken == "It is on its way."
    assert (answer.speculation, answer.interrupted_at_ms) == ("hit", 1200)
    assert (answer.speech_end_ms, answer.wire_first_ms, answer.played_ms) == (5000, 5600, None)
    assert [tool.action for tool in found.tool_calls] == [
        None,
        {"action": "TransferCall", "target": "200", "reason": "sales"},
    ]
    assert [(event.what, event.data, event.at_ms) for event in found.events] == [
        ("barge_in", {"words": 3}, 8000)
    ]
    # 400 fresh, 600 cached and 50 completion tokens; half a minute; 42 characters
    llm = Decimal("0.00008") + Decimal("0.00003") + Decimal("0.00004")
    assert found.conversation.cost == llm + Decimal("0.003") + Decimal("0.00063")


async def test_what_no_database_takes_is_made_takeable(database: Database) -> None:
    async with JournalWriter(database, instance="a") as journal:
        data: dict[str, str | float] = {"text": "a\0b\ud800", "number": float("nan")}
        write(journal, "one", began(), Happened(BEGAN_S, "odd", data), ended())
    found = await Conversations(database).transcript("one")
    assert found.events[0].data == {"text": "ab?", "number": None}
    assert journal.lost == 0


async def test_a_row_that_the_database_refuses_costs_no_other_row(database: Database) -> None:
    async with JournalWriter(database, instance="a") as journal:
        orphan = Happened(BEGAN_S, "whose")
        write(journal, "nobody", orphan)
        write(journal, "one", *whole_call())
    assert journal.lost == 1
    assert await count(database, "events") == 1
    assert await count(database, "turns") == 4


async def test_before_the_tables_exist_everything_waits_in_files(config: StoreConfig) -> None:
    database = Database(config)
    async with JournalWriter(database, instance="a") as journal:
        write(journal, "one", *whole_call())
        await until(lambda: journal.backlog[1] > 0 and journal.backlog[0] == 0)
        await upgrade(database)
        await until(lambda: journal.backlog == (0, 0))
    assert journal.lost == 0
    assert (await Conversations(database).get("one")).row.outcome == "caller_hung_up"
    await database.close()


async def test_what_was_put_by_outlives_the_process(config: StoreConfig) -> None:
    database = Database(config)
    async with JournalWriter(database, instance="a") as journal:
        write(journal, "one", *whole_call())
    assert journal.backlog[1] > 0
    await upgrade(database)
    async with JournalWriter(database, instance="a") as journal:
        await until(lambda: journal.backlog == (0, 0))
    assert await count(database, "turns") == 4
    await database.close()


async def test_writing_everything_again_changes_nothing(database: Database) -> None:
    for _ in range(2):
        async with JournalWriter(database, instance="a") as journal:
            write(journal, "one", *whole_call())
        assert journal.lost == 0
    assert [await count(database, each) for each in ("turns", "events", "usage", "tool_calls")] == [
        4, 1, 3, 2
    ]  # fmt: skip


async def test_a_conversation_whose_process_died_ends_with_its_last_entry(
    database: Database,
) -> None:
    async with JournalWriter(database, instance="a") as journal:
        await until(lambda: journal._lost_closed)
        past = began(unix_s=time.time() - 100)
        write(journal, "one", past, Happened(BEGAN_S + 12, "digit"))
        write(journal, "other", past, ended())
    async with JournalWriter(database, instance="b"):
        pass
    assert (await Conversations(database).get("one")).row.outcome is None
    async with JournalWriter(database, instance="a") as journal:
        await until(lambda: journal._lost_closed)
    lost = (await Conversations(database).get("one")).row
    assert lost.outcome == "lost" and lost.ended_at is not None
    assert (lost.ended_at - lost.started_at).total_seconds() == pytest.approx(12)
    assert (await Conversations(database).get("other")).row.outcome == "caller_hung_up"


async def test_a_full_queue_loses_events_before_turns_and_counts_them(config: StoreConfig) -> None:
    small = config.model_copy(update={"journal": JournalConfig(queue=100, spool_bytes=0)})
    journal = JournalWriter(Database(small), instance="a")  # nobody writes
    write(journal, "one", *(Happened(BEGAN_S, "digit") for _ in range(100)))
    assert (journal.backlog[0], journal.lost) == (80, 20)
    write(journal, "one", *(CallerTurn(BEGAN_S, turn, "hello") for turn in range(25)))
    assert (journal.backlog[0], journal.lost) == (100, 25)


async def test_a_full_spool_loses_what_comes_last_and_counts_it(config: StoreConfig) -> None:
    little = config.journal.model_copy(update={"spool_bytes": 3000})
    database = Database(config.model_copy(update={"journal": little}))
    async with JournalWriter(database, instance="a") as journal:
        for number in range(10):
            write(journal, f"call {number}", began(), ended())
            await until(lambda: journal.backlog[0] == 0)
    assert 0 < journal.backlog[1] <= 3000
    assert journal.lost > 0
    await database.close()


async def test_writing_takes_no_time_from_a_call(database: Database) -> None:
    """Also while another program holds the database's lock."""
    async with JournalWriter(database, instance="a") as journal, database.engine.connect() as other:
        await other.execute(text(_LOCK[database.dialect]))
        call = journal.journal(CallContext("one", "a"))
        worst = 0.0
        many: list[Entry] = [Happened(BEGAN_S, "digit") for _ in range(500)]
        for entry in (began(), *many, ended()):
            begun = time.perf_counter()
            call.write(entry)
            worst = max(worst, time.perf_counter() - begun)
            await asyncio.sleep(0)
        assert worst < 0.25  # the machine may be slow; the lock is there for longer
        await other.rollback()
        await until(lambda: journal.backlog == (0, 0))
    assert await count(database, "events") == 500


_LOCK = {
    "sqlite": "BEGIN EXCLUSIVE",
    "postgresql": "LOCK TABLE conversations, events IN ACCESS EXCLUSIVE MODE",
}


@pytest.mark.slow
@pytest.mark.postgres
async def test_postgresql_goes_away_and_comes_back_during_calls(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    journal_config = JournalConfig(spool=tmp_path / "spool", retry_s=0.2, linger_s=0.01, write_s=3)
    config = StoreConfig(url=postgres_server.new_database(), journal=journal_config, connect_s=2)
    database = Database(config)
    await upgrade(database)
    async with JournalWriter(database, instance="a") as journal:
        write(journal, "before", *whole_call())
        during = journal.journal(CallContext("during", "a"))
        during.write(began())
        await until(lambda: journal.backlog == (0, 0))
        await asyncio.to_thread(postgres_server.stop)
        for number in range(300):
            during.write(Happened(BEGAN_S + number / 10, "digit", {"number": number}))
            await asyncio.sleep(0.002)
        await until(lambda: journal.backlog[1] > 0)
        await asyncio.to_thread(postgres_server.start)
        during.write(ended())
        await until(lambda: journal.backlog == (0, 0), 20)
    assert journal.lost == 0
    found = await Conversations(database).transcript("during")
    assert [event.data["number"] for event in found.events] == list(range(300))
    assert found.conversation.row.outcome == "caller_hung_up"
    await database.close()
