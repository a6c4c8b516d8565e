"""The client against servers that answer well, badly, late, in pieces, and not at all."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.voice_agent.config import LlmConfig, LlmEndpoint
from examples.voice_agent.llm import OpenAiLanguageModel
from examples.voice_agent.ports import (
    AnswerEnd,
    ChatMessage,
    Delta,
    LanguageModel,
    LanguageModelError,
    TextDelta,
    ToolCall,
    ToolSpec,
    Usage,
)
from examples.voice_agent.tool_syntax import MALFORMED
from tests.examples.voice_agent.raw_http import Answer, RawServer, Request, raw_server
from tests.services.serving import eventually

ASKED = [ChatMessage("system", "Be brief."), ChatMessage("user", "Xin chào")]
LOOKUP = ToolSpec("customer_lookup", "Finds a customer.", {"type": "object", "properties": {}})


def _event(delta: dict[str, Any], reason: str | None = None) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


USAGE_EVENT = (
    b'data: {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3, '
    b'"prompt_tokens_details": {"cached_tokens": 16}}}\n\n'
)
DONE = b"data: [DONE]\n\n"
GREETING = [
    _event({"role": "assistant", "content": ""}),
    b": keep-alive\n\n",
    _event({"content": "Chào "}),
    _event({"content": "anh!"}),
    _event({}, "stop"),
    USAGE_EVENT,
    DONE,
]
GREETED: list[Delta] = [
    TextDelta("Chào "),
    TextDelta("anh!"),
    AnswerEnd("stop", Usage(20, 3, 16)),
]


def streams(*chunks: bytes, end: bool = True) -> Answer:
    async def answer(request: Request) -> None:
        await request.head()
        for chunk in chunks:
            await request.chunk(chunk)
        if end:
            await request.end()
        else:
            request.writer.close()

    return answer


def refuses(status: int, body: object) -> Answer:
    return lambda request: request.whole(status, body)


async def says_nothing(request: Request) -> None:
    await request.until_gone()


async def hangs_up(request: Request) -> None:
    request.writer.close()


def _config(server: RawServer, **more: Any) -> LlmConfig:
    times: dict[str, Any] = {"connect_s": 1, "first_delta_s": 2, "between_deltas_s": 2}
    return LlmConfig(base_url=f"{server.url}/v1", model="m", **times | more)


async def _ask(
    config: LlmConfig, messages: list[ChatMessage] = ASKED, tools: tuple[ToolSpec, ...] = (LOOKUP,)
) -> list[Delta]:
    async with OpenAiLanguageModel(config) as model:
        return [delta async for delta in model.stream(messages, tools)]


async def _fails(config: LlmConfig) -> LanguageModelError:
    with pytest.raises(LanguageModelError) as caught:
        await _ask(config)
    return caught.value


def _is_a_language_model(model: OpenAiLanguageModel) -> LanguageModel:
    return model


async def test_an_answer_with_its_usage() -> None:
    async with raw_server(streams(*GREETING)) as server:
        assert await _ask(_config(server, temperature=0.3, extra={"top_p": 0.9})) == GREETED
    request = server.requests[0]
    assert request.path == "/v1/chat/completions"
    assert "authorization" not in request.headers
    assert request.json == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Xin chào"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 300,
        "temperature": 0.3,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "customer_lookup",
                    "description": "Finds a customer.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "top_p": 0.9,
    }


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.lists(st.integers(1, 2000), max_size=15))
async def test_the_network_may_cut_anywhere(cuts: list[int]) -> None:
    raw = b"".join(GREETING)
    at = sorted({0, *(cut % len(raw) for cut in cuts), len(raw)})
    chunks = [raw[a:b] for a, b in zip(at, at[1:], strict=False)]
    async with raw_server(streams(*chunks)) as server:
        assert await _ask(_config(server)) == GREETED


async def test_the_history_is_sent_as_the_api_knows_it_and_is_a_stable_prefix() -> None:
    call = ToolCall("c1", "customer_lookup", {"phone_number": "+84901234567", "tên": "Đỗ"})
    history = [
        *ASKED,
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", '{"found": 0}', tool_call_id="c1"),
    ]
    async with raw_server(streams(*GREETING)) as server:
        await _ask(_config(server), ASKED)
        await _ask(_config(server), history)
    first, second = (request.body for request in server.requests)
    assert second.startswith(first[: first.index(b"}]")])
    assert server.requests[1].json["messages"][2:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {
                        "name": "customer_lookup",
                        "arguments": '{"phone_number": "+84901234567", "tên": "Đỗ"}',
                    },
                }
            ],
        },
        {"role": "tool", "content": '{"found": 0}', "tool_call_id": "c1"},
    ]


async def test_a_tool_call_in_fragments() -> None:
    fragments = ['{"phone', '_number": "+8', '490"}']
    opening = {"index": 0, "id": "abc", "function": {"name": "customer_lookup", "arguments": ""}}
    events = [_event({"content": "One moment. "}), _event({"tool_calls": [opening]})]
    events += [
        _event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        for piece in fragments
    ]
    async with raw_server(streams(*events, _event({}, "tool_calls"), DONE)) as server:
        assert await _ask(_config(server)) == [
            TextDelta("One moment. "),
            ToolCall("abc", "customer_lookup", {"phone_number": "+8490"}),
            AnswerEnd("tool_calls"),
        ]


async def test_ids_that_a_server_uses_again_are_replaced() -> None:
    whole = {"index": 0, "id": "0", "function": {"name": "customer_lookup", "arguments": "{}"}}
    history = [*ASKED, ChatMessage("assistant", "", (ToolCall("0", "customer_lookup", {}),))]
    async with raw_server(streams(_event({"tool_calls": [whole]}, "tool_calls"), DONE)) as server:
        [call, _] = await _ask(_config(server), history)
    assert isinstance(call, ToolCall) and call.call_id not in ("0", "")


async def test_a_call_that_comes_as_text_is_not_spoken() -> None:
    pieces = ["<|python", "_start|>[customer_lookup(phone_", "number='+8490')]", "<|python_end|>"]
    events = [_event({"content": piece}) for piece in pieces]
    async with raw_server(streams(*events, _event({}, "stop"), DONE)) as server:
        [call, end] = await _ask(_config(server))
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("customer_lookup", {"phone_number": "+8490"})
    assert call.call_id and end == AnswerEnd("stop")


async def test_a_call_is_recognised_also_when_no_tools_are_on_offer_any_more() -> None:
    history = [*ASKED, ChatMessage("assistant", "", (ToolCall("0", "customer_lookup", {}),))]
    said = _event({"content": "Wait. [customer_lookup(x=1"}, "length")
    async with raw_server(streams(said, DONE)) as server:
        [text, call, _] = await _ask(_config(server), history, ())
    assert text == TextDelta("Wait. ")
    assert isinstance(call, ToolCall) and list(call.arguments) == [MALFORMED]


async def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(streams(*GREETING)) as server:
        config = _config(server, api_key_env="VOICE_AGENT_SECRET_LLM")
        monkeypatch.delenv("VOICE_AGENT_SECRET_LLM", raising=False)
        error = await _fails(config)
        assert (error.code, error.retryable) == ("no_key", False)
        assert "VOICE_AGENT_SECRET_LLM" in str(error) and not server.requests
        monkeypatch.setenv("VOICE_AGENT_SECRET_LLM", "s3cret")
        assert await _ask(config) == GREETED
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"


async def test_connections_are_used_again() -> None:
    async with (
        raw_server(streams(*GREETING)) as server,
        OpenAiLanguageModel(_config(server)) as model,
    ):
        for _ in range(3):
            assert [delta async for delta in model.stream(ASKED, [])] == GREETED
        assert server.connections == 1


@pytest.mark.parametrize("answer", [hangs_up, refuses(503, {"error": {"message": "loading"}})])
async def test_one_failure_before_the_first_word_is_repeated(answer: Answer) -> None:
    async with raw_server(answer, streams(*GREETING)) as server:
        assert await _ask(_config(server)) == GREETED
    assert len(server.requests) == 2


async def test_a_second_failure_is_told() -> None:
    async with raw_server(refuses(503, {"error": {"message": "loading"}})) as server:
        error = await _fails(_config(server))
    assert (error.code, error.retryable, len(server.requests)) == ("http_503", True, 2)
    assert str(error) == "The language model's server refused (503): loading"


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (400, {"error": {"message": "too many tokens", "code": "context_length_exceeded"}},
         "context_length_exceeded", "too many tokens"),
        (400, {"error": {"message": "too long", "code": 400, "type": "exceed_context_size_error"}},
         "exceed_context_size_error", "too long"),
        (401, {"error": {"message": "who?", "type": "auth"}}, "http_401", "who?"),
        (404, {"detail": "Not Found"}, "http_404", "Not Found"),
        (422, b"<html>no</html>", "http_422", "<html>no</html>"),
        (400, {"object": "error", "message": "old vLLM", "code": 400}, "http_400", "old vLLM"),
    ],
)  # fmt: skip
async def test_what_repeating_does_not_help_is_told_at_once(
    status: int, body: object, code: str, said: str
) -> None:
    async with raw_server(refuses(status, body)) as server:
        error = await _fails(_config(server))
    assert (error.code, error.retryable, len(server.requests)) == (code, False, 1)
    assert said in str(error)


async def test_an_error_within_the_stream_after_words_is_not_repeated() -> None:
    failure = b'data: {"error": {"message": "out of memory", "type": "InternalError"}}\n\n'
    async with (
        raw_server(streams(_event({"content": "Hel"}), failure, DONE)) as server,
        OpenAiLanguageModel(_config(server)) as model,
    ):
        heard: list[Delta] = []
        with pytest.raises(LanguageModelError, match="out of memory") as caught:
            async for delta in model.stream(ASKED, []):
                heard.append(delta)
    assert (caught.value.code, caught.value.retryable) == ("InternalError", True)
    assert heard == [TextDelta("Hel")] and len(server.requests) == 1


async def test_a_stream_that_breaks_off_is_no_answer() -> None:
    async with raw_server(streams(_event({"content": "Hel"}))) as server:
        assert (await _fails(_config(server))).code == "broken_off"
    async with raw_server(streams(_event({"content": "Hel"}), end=False)) as server:
        assert (await _fails(_config(server))).code == "connection_lost"


async def test_an_end_without_done_or_usage_is_an_end() -> None:
    async with raw_server(streams(_event({"content": "Hi"}, "stop"))) as server:
        assert await _ask(_config(server)) == [TextDelta("Hi"), AnswerEnd("stop")]
    lost = streams(_event({"content": "Hi"}, "length"), b"data: {", end=False)
    async with raw_server(lost) as server:
        assert await _ask(_config(server)) == [TextDelta("Hi"), AnswerEnd("length")]


async def test_what_is_no_stream_is_said() -> None:
    async with raw_server(lambda request: request.whole(200, b"hello", "text/html")) as server:
        error = await _fails(_config(server))
    assert error.code == "not_a_stream" and "text/html" in str(error)


@pytest.mark.parametrize(
    "event",
    [b"hello", b"[1]", b'{"choices": [1]}', b'{"choices": [{"delta": {"content": 3}}]}',
     b'{"choices": [{"delta": {"tool_calls": ["x"]}}]}', b'{"usage": [1]}',
     b'{"usage": {"prompt_tokens": Infinity}}'],
)  # fmt: skip
async def test_events_of_another_kind_are_said(event: bytes) -> None:
    async with raw_server(streams(b"data: " + event + b"\n\n")) as server:
        error = await _fails(_config(server))
    assert (error.code, error.retryable) == ("bad_stream", False)


# Time limits.


async def _timed(config: LlmConfig) -> tuple[LanguageModelError, float]:
    began = time.monotonic()
    error = await _fails(config)
    return error, time.monotonic() - began


def stalls(*chunks: bytes) -> Answer:
    async def answer(request: Request) -> None:
        await request.head()
        for chunk in chunks:
            await request.chunk(chunk)
        for _ in range(100):
            await asyncio.sleep(0.05)
            await request.chunk(b": keep-alive\n\n")

    return answer


@pytest.mark.parametrize("answer", [says_nothing, stalls(), stalls(GREETING[0])])
async def test_the_first_word_is_waited_for_so_long(answer: Answer) -> None:
    async with raw_server(answer) as server:
        error, took = await _timed(_config(server, first_delta_s=0.3))
    assert (error.code, error.retryable) == ("first_token_timeout", True)
    assert 0.25 < took < 1.0 and len(server.requests) == 1


async def test_the_next_word_is_waited_for_so_long_whatever_keeps_the_connection_alive() -> None:
    async with raw_server(stalls(_event({"content": "Hel"}))) as server:
        error, took = await _timed(_config(server, between_deltas_s=0.3))
    assert error.code == "stalled" and 0.25 < took < 1.0


async def test_the_usage_is_not_waited_for_long() -> None:
    async with raw_server(stalls(_event({"content": "Hi"}, "stop"))) as server:
        began = time.monotonic()
        assert await _ask(_config(server)) == [TextDelta("Hi"), AnswerEnd("stop")]
        assert time.monotonic() - began < 1.8


# Cancellation.


async def _gone(server: RawServer) -> None:
    await eventually(lambda: not server.open_connections)


async def test_closing_the_iterator_ends_the_request() -> None:
    async with (
        raw_server(stalls(_event({"content": "Hel"}))) as server,
        OpenAiLanguageModel(_config(server)) as model,
    ):
        deltas = model.stream(ASKED, [])
        assert await anext(deltas) == TextDelta("Hel")
        await deltas.aclose()
        await _gone(server)


@pytest.mark.parametrize("answer", [says_nothing, stalls(), stalls(_event({"content": "Hel"}))])
async def test_cancelling_the_reader_ends_the_request(answer: Answer) -> None:
    async with (
        raw_server(answer) as server,
        OpenAiLanguageModel(_config(server)) as model,
    ):

        async def read() -> None:
            async for _ in model.stream(ASKED, []):
                pass

        reading = asyncio.create_task(read())
        await eventually(lambda: server.open_connections == 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await _gone(server)


# Several endpoints.


def _and(server: RawServer) -> tuple[LlmEndpoint, ...]:
    return (LlmEndpoint(base_url=f"{server.url}/v1/", model="second"),)


@pytest.mark.parametrize(
    "answer",
    [hangs_up, says_nothing, refuses(500, {}), refuses(401, {}), refuses(404, {})],
)
async def test_another_endpoint_takes_over_and_is_asked_first_for_a_while(answer: Answer) -> None:
    async with raw_server(answer) as first, raw_server(streams(*GREETING)) as second:
        config = _config(first, first_delta_s=0.3, fallbacks=_and(second))
        async with OpenAiLanguageModel(config) as model:
            for _ in range(2):
                assert [delta async for delta in model.stream(ASKED, [])] == GREETED
    assert len(first.requests) == 1 and len(second.requests) == 2
    assert second.requests[0].json["model"] == "second"


async def test_an_endpoint_that_is_not_there() -> None:
    async with raw_server(streams(*GREETING)) as second:
        config = LlmConfig(base_url="http://127.0.0.1:1/v1", fallbacks=_and(second))
        assert await _ask(config) == GREETED
    error = await _fails(LlmConfig(base_url="http://127.0.0.1:1/v1"))
    assert (error.code, error.retryable) == ("unreachable", True)
    assert "http://127.0.0.1:1/v1" in str(error)


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/v1", "http://x:y/v1"])
async def test_an_address_that_is_none(url: str) -> None:
    assert (await _fails(LlmConfig(base_url=url))).code == "bad_url"


async def test_a_wrong_request_is_not_tried_elsewhere() -> None:
    async with raw_server(refuses(400, {})) as first, raw_server(streams(*GREETING)) as second:
        assert (await _fails(_config(first, fallbacks=_and(second)))).code == "http_400"
        assert not second.requests


# Warming up.


async def test_warming_sends_the_same_prefix_and_keeps_the_connection() -> None:
    answers: list[Callable[[Request], Awaitable[None]]] = [refuses(200, {}), streams(*GREETING)]
    async with (
        raw_server(*answers) as server,
        OpenAiLanguageModel(_config(server)) as model,
    ):
        await model.warm(ASKED[:1], [LOOKUP])
        assert [delta async for delta in model.stream(ASKED, [LOOKUP])] == GREETED
    warm, asked = (request.json for request in server.requests)
    assert (warm["max_tokens"], warm["stream"]) == (1, False)
    assert warm["messages"] == asked["messages"][:1] and warm["tools"] == asked["tools"]
    assert server.connections == 1


async def test_warming_asks_for_one_token_by_the_name_that_the_model_knows() -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 200}
    async with (
        raw_server(refuses(200, {})) as server,
        OpenAiLanguageModel(_config(server, extra=extra)) as model,
    ):
        await model.warm(ASKED, [])
    body = server.requests[0].json
    assert body["max_completion_tokens"] == 1 and "max_tokens" not in body


async def half_an_answer(request: Request) -> None:
    await request.head(200, "application/json")
    await request.chunk(b"{")
    request.writer.close()


@pytest.mark.parametrize("answer", [hangs_up, refuses(500, {}), says_nothing, half_an_answer])
async def test_warming_never_fails(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.voice_agent.llm.WARM_S", 0.2)
    async with (
        raw_server(answer) as server,
        OpenAiLanguageModel(_config(server)) as model,
    ):
        await model.warm(ASKED, [])


@pytest.mark.parametrize("beginning", [[], [GREETING[0], GREETING[2]]])
async def test_who_is_cancelled_twice_leaves_no_connection(beginning: list[bytes]) -> None:
    """At the end of a call everybody who still runs is cancelled, also who was a moment ago."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def goes_on(request: Request) -> None:
        if beginning:
            await request.head()
            for chunk in beginning:
                await request.chunk(chunk)
        asked.set()
        await request.until_gone()
        gone.set()

    async def read(model: OpenAiLanguageModel) -> None:
        async for _ in model.stream(ASKED, []):
            pass

    async with raw_server(goes_on) as server, OpenAiLanguageModel(_config(server)) as model:
        reading = asyncio.create_task(read(model))
        await asked.wait()
        await asyncio.sleep(0.05)
        for _ in range(3):
            reading.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([reading])
        assert reading.cancelled()
        async with asyncio.timeout(1):
            await gone.wait()
