"""Watching calls while they go on."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from examples.voice_agent.live import LiveCalls, TooManyWatchers
from examples.voice_agent.ports import Happened
from examples.voice_agent.store.records import CallContext
from tests.examples.voice_agent.api.conftest import Api
from tests.examples.voice_agent.store.calls import BEGAN_S, began, until, whole_call


def live_url(api: Api) -> str:
    return api.url.replace("http", "ws") + "/v1/calls/live"


async def test_a_watcher_sees_what_goes_on_and_what_happens(api: Api) -> None:
    early = api.store.journal.journal(CallContext("early", "test"))
    early.write(began())
    headers = {"Authorization": f"Bearer {api.key}"}
    async with connect(live_url(api), additional_headers=headers, proxy=None) as socket:
        first: Any = json.loads(await socket.recv())
        assert first["type"] == "calls"
        assert [call["conversation"] for call in first["calls"]] == ["early"]
        assert [call["called"] for call in (await api.http.get("/v1/calls")).json()] == ["15550100"]
        late = api.store.journal.journal(CallContext("late", "test"))
        for entry in whole_call():
            late.write(entry)
        told: list[Any] = [json.loads(await socket.recv()) for _ in whole_call()]
    assert {each["conversation"] for each in told} == {"late"}
    assert [each["seq"] for each in told] == list(range(len(told)))
    assert [told[0]["kind"], told[-1]["kind"]] == ["CallBegan", "CallEnded"]
    assert told[3]["entry"]["text"] == "Where is my order?" and told[3]["at_ms"] == 5000
    assert [call.conversation for call in api.store.live.calls] == ["early"]


async def test_browsers_give_their_key_as_a_subprotocol(api: Api) -> None:
    protocols: Any = ["voice", api.key]
    async with connect(live_url(api), subprotocols=protocols, proxy=None) as socket:
        assert socket.subprotocol == "voice"
        assert json.loads(await socket.recv())["type"] == "calls"


async def test_what_a_watcher_sends_is_of_no_account(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with connect(live_url(api), additional_headers=headers, proxy=None) as socket:
        await socket.recv()
        for sent in ("hello", b"\x00\xff", "{}"):
            await socket.send(sent)
        await (await socket.ping())
        api.store.journal.journal(CallContext("next", "test")).write(began())
        assert json.loads(await socket.recv())["conversation"] == "next"


async def test_strangers_watch_nothing(api: Api) -> None:
    async with connect(live_url(api), proxy=None) as socket:
        assert json.loads(await socket.recv())["code"] == "unauthorized"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


async def test_a_watcher_that_does_not_read_is_dropped_and_holds_up_nobody(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with (
        connect(live_url(api), additional_headers=headers, proxy=None, max_queue=1) as slow,
        connect(live_url(api), additional_headers=headers, proxy=None) as quick,
    ):
        await quick.recv()
        await until(lambda: len(api.store.live._watchers) == 2)
        call = api.store.journal.journal(CallContext("one", "test"))
        call.write(began())
        big = Happened(BEGAN_S, "big", {"text": "x" * 20_000})
        seen = 0
        for _ in range(800):
            call.write(big)
            await asyncio.wait_for(quick.recv(), 5)
            seen += 1
        assert seen == 800
        await until(lambda: len(api.store.live._watchers) == 1)
        slow.transport.abort()


async def test_a_queue_that_is_full_ends_its_watcher() -> None:
    live, context = LiveCalls(), CallContext("one", "test")
    watcher = live.watch()
    for seq in range(1001):
        assert not watcher.too_slow.is_set()
        live.tell(context, BEGAN_S, seq, Happened(BEGAN_S, "digit"))
    assert watcher.too_slow.is_set()
    assert watcher.queue.qsize() == 1000


async def test_watchers_are_counted() -> None:
    live = LiveCalls(max_watchers=1)
    watcher = live.watch()
    with pytest.raises(TooManyWatchers):
        live.watch()
    live.leave(watcher)
    live.watch()
