"""The tool as an agent has it: settings in, sentences for the model out, a real server behind."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from examples.voice_agent.ports import ToolCall, ToolContext, ToolResult
from examples.voice_agent.tools.discovery import make_toolbox
from examples.voice_agent.tools.toolbox import PluginToolBox
from examples.voice_agent.transport import CallInfo
from tests.examples.voice_agent.raw_http import Answer, RawServer, Request, raw_server

CALLER = "+84901234567"


async def _answers(request: Request) -> None:
    people = [{"name": "Lan", "note": "x" * 3000}] if "84901234567" in request.path else []
    await request.whole(200, people)


@asynccontextmanager
async def _box(
    *answers: Answer, kinds: tuple[str, ...] = ("phone",), **more: Any
) -> AsyncIterator[tuple[PluginToolBox, RawServer]]:
    async with raw_server(*(answers or (_answers,))) as server:
        lookups = {kind: {"url": f"{server.url}/?q={{{kind}}}"} for kind in kinds}
        crm = {"backend": "http", "lookups": lookups}
        settings: dict[str, Any] = {"region": "VN", "crm": crm} | more
        async with make_toolbox(["customer_lookup"], {"customer_lookup": settings}) as box:
            yield box, server


async def _ask(box: PluginToolBox, caller: str = CALLER, **arguments: Any) -> ToolResult:
    call = ToolCall("1", "customer_lookup", arguments)
    return await box.run(call, ToolContext(CallInfo("c", caller, "1900"), "vi"))


async def test_the_caller_or_another_number() -> None:
    async with _box() as (box, server):
        assert json.loads((await _ask(box)).content)["found"] == 1
        assert (await _ask(box, phone_number="0901 234 567")).ok
        nobody = json.loads((await _ask(box, phone_number=84902222222)).content)
        assert nobody == {"found": 0, "note": "No customer with the phone +84902222222."}
        assert not (await _ask(box, "")).ok and len(server.requests) == 3
        assert not box.specs[0].side_effects


async def test_only_what_the_database_can_be_asked_for_is_offered() -> None:
    async with _box(kinds=("email", "reference")) as (box, server):
        assert set(box.specs[0].parameters["properties"]) == {"email", "reference"}
        assert (await _ask(box)).content == "Ask the caller for: email, reference."
        for wrong in ({"phone_number": "1"}, {"email": "x"}, {"reference": "../x"}):
            assert not (await _ask(box, **wrong)).ok
        assert not server.requests
        assert (await _ask(box, email="84901234567@acme.vn")).ok


async def test_callers_may_be_kept_from_asking_for_others() -> None:
    async with _box(kinds=("phone", "email"), caller_only=True) as (box, server):
        assert box.specs[0].parameters["properties"] == {}
        assert not (await _ask(box, phone_number="0902222222")).ok and not server.requests
        assert (await _ask(box)).ok


async def test_the_result_is_bounded() -> None:
    async with _box(result_characters=200) as (box, _):
        assert len((await _ask(box)).content) == 200


async def test_a_database_that_stumbles_once() -> None:
    async def stumbles(request: Request) -> None:
        await request.whole(503, "later")

    async with _box(stumbles, _answers) as (box, server):
        assert (await _ask(box)).ok and len(server.requests) == 2


@pytest.mark.parametrize("caller", ["anonymous", "x" * 500])
async def test_a_caller_without_a_number(caller: str) -> None:
    async with _box() as (box, server):
        result = await _ask(box, caller)
        assert not result.ok and "Ask the caller" in result.content and not server.requests
