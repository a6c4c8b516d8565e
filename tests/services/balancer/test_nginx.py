"""What clients see through a real nginx."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from services.asr.messages import Ready, Resumed
from services.balancer.plan import ClientLimits, Tls, Uploads
from services.balancer.process import BalancerFailed
from services.cli.processes import free_port
from services.client.tts import open_tts
from services.shared.protocol.base import ErrorCode
from services.tts.messages import AudioFinished, Start
from tests.services.asr.client import Caller, recognise, session
from tests.services.asr.sounds import encoded, pcm, tone
from tests.services.balancer.conftest import NOBODY, Front, Listening, Pair, StartFront, listening
from tests.services.serving import LiveService, eventually

PLAIN: dict[str, Any] = {"partials": False, "turn": {"mode": "silence", "silence_ms": 500}}
SPEECH = pcm(tone(400, 1000))


def http(**options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(**{"trust_env": False, "timeout": 15, **options})


def is_refusal(answer: httpx.Response, status: int, code: ErrorCode, *, retryable: bool) -> bool:
    body = answer.json()
    assert set(body) == {"type", "code", "message", "retryable"}
    if retryable:
        assert answer.headers["Retry-After"] == "2"
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*", "no page could read it"
    return (answer.status_code, body["code"], body["retryable"]) == (status, code, retryable)


# Sessions and requests.


async def test_a_conversation_in_both_directions(front: StartFront, asr_pair: Pair) -> None:
    async with front(asr=asr_pair.addresses) as via:
        through = await recognise(via.ws, SPEECH, **PLAIN)
        direct = await recognise(asr_pair.one.ws, SPEECH, **PLAIN)
    assert through.text == direct.text != ""


async def test_the_instance_with_the_fewest_sessions_gets_the_next(
    front: StartFront, asr_pair: Pair
) -> None:
    async with front(asr=asr_pair.addresses) as via, AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(session(via.ws))
        assert asr_pair.sessions == (3, 3)


async def test_speech_is_heard_while_it_is_made(front: StartFront, tts_pair: Pair) -> None:
    text = "One sentence. Another sentence. And a third sentence. A fourth, and that is all."
    async with front(tts={"default": tts_pair.addresses}) as via, http() as client:
        body = {"text": text, "format": "wav", "cache": "bypass"}
        began = time.monotonic()
        times: list[float] = []
        async with client.stream("POST", f"{via.http}/v1/synthesize", json=body) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for _ in answer.aiter_raw():
                times.append(time.monotonic() - began)
    assert len(times) > 2
    assert times[0] < times[-1] / 2, times


async def test_speech_over_a_web_socket(front: StartFront, tts_pair: Pair) -> None:
    async with (
        front(tts={"default": tts_pair.addresses}) as via,
        open_tts(via.ws) as speaker,
        asyncio.timeout(15),
    ):
        await speaker.start(Start())
        await speaker.send_text("Good morning.")
        await speaker.end()
        heard = 0
        async for _, message in speaker.events():
            if isinstance(message, bytes):
                heard += len(message)
            elif isinstance(message, AudioFinished):
                break
    assert heard > 0


# An instance that cannot.


async def test_a_full_instance_passes_on_and_the_last_refusal_is_the_services_own(
    front: StartFront, asr_pair: Pair
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(8):  # past the balancer, which therefore holds this one for empty
            await stack.enter_async_context(session(asr_pair.one.ws))
        via = await stack.enter_async_context(front(asr=asr_pair.addresses))
        for _ in range(8):
            await stack.enter_async_context(session(via.ws))
        assert asr_pair.sessions == (8, 8)
        with pytest.raises(InvalidStatus) as refused:
            await stack.enter_async_context(session(via.ws))
        answer = refused.value.response
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert json.loads(answer.body or b"")["message"].startswith("all 8 sessions")


async def test_nobody_notices_a_dead_instance(front: StartFront, asr_pair: Pair) -> None:
    async with front(asr=(NOBODY, asr_pair.one.address)) as via:
        for _ in range(5):
            async with session(via.ws):
                pass


@pytest.mark.parametrize("path", ["/v1/synthesize", "/v1/transcribe"])
async def test_work_that_is_lost_before_its_first_byte_is_done_by_another(
    front: StartFront, path: str
) -> None:
    async with listening(None) as dying, listening() as well:
        both = (dying.address, well.address)
        where = {"asr": both} if path == "/v1/transcribe" else {"tts": {"default": both}}
        async with front(**where) as via, http() as client:
            for _ in range(4):
                assert (await client.post(via.http + path, content=b"{}")).text == "ok"
    assert dying.requests, "it was never tried"


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/stream/asr", "/v1/stream/tts", "/v1/synthesize"])
async def test_who_was_sent_to_a_hung_instance_goes_on_when_its_watchdog_ends_it(
    front: StartFront, path: str
) -> None:
    """`WatchdogSec=10`, and a moment until the process is gone."""
    async with listening(None, hangs_s=11) as hung, listening() as well:
        both = (hung.address, well.address)
        where = {"asr": both} if path.endswith("asr") else {"tts": {"default": both}}
        async with front(**where) as via, http() as client:
            ask = client.post if path == "/v1/synthesize" else client.get
            answers = await asyncio.gather(*(ask(via.http + path) for _ in range(4)))
    assert [answer.text for answer in answers] == ["ok"] * 4
    assert hung.requests, "it was never tried"


async def test_a_voice_is_never_made_twice(front: StartFront) -> None:
    async with listening(None) as dying, listening() as well:
        group = {"default": (dying.address, well.address)}
        async with front(tts=group) as via, http() as client:
            answers = [await client.post(f"{via.http}/v1/voices", content=b"x") for _ in range(4)]
    assert len(dying.requests) + len(well.requests) == 4
    lost = [answer for answer in answers if answer.status_code != 200]
    assert len(lost) == len(dying.requests) > 0
    assert is_refusal(lost[0], 503, ErrorCode.OVERLOADED, retryable=True)


async def test_without_any_instance_there_is_an_answer_in_the_services_shape(
    front: StartFront,
) -> None:
    async with front() as via, http() as client:
        answer = await client.post(f"{via.http}/v1/synthesize", json={"text": "hello"})
        assert is_refusal(answer, 503, ErrorCode.OVERLOADED, retryable=True)
        with pytest.raises(InvalidStatus) as refused:
            async with session(via.ws):
                pass
        assert refused.value.response.status_code == 503


# Is there room? A bridge asks ahead of each call.


@contextlib.contextmanager
def troubled(service: LiveService) -> Iterator[None]:
    """It refuses newcomers, as one that measures that it is late."""
    service.lifecycle.checks.append(late := lambda: "finals are late")
    try:
        yield
    finally:
        service.lifecycle.checks.remove(late)


async def test_they_are_ready_as_long_as_one_of_them_is(front: StartFront, asr_pair: Pair) -> None:
    async with front(asr=(NOBODY, *asr_pair.addresses)) as via, http() as client:
        asked = f"{via.http}/health/ready?service=asr"
        for service in asr_pair:
            with troubled(service):
                answers = [await client.get(asked) for _ in range(6)]
                assert {answer.status_code for answer in answers} == {200}
                assert answers[0].json()["phase"] == "ready"
        with troubled(asr_pair.one), troubled(asr_pair.other):
            answer = await client.get(asked)
            assert (answer.status_code, answer.json()["troubles"]) == (503, ["finals are late"])


async def test_each_group_is_asked_for_itself(front: StartFront) -> None:
    def says(text: bytes) -> AbstractAsyncContextManager[Listening]:
        length = len(text)
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        return listening(head.encode() + text)

    async with says(b"asr") as asr, says(b"first") as first, says(b"other") as other:
        groups = {"default": (first.address,), "nova": (other.address,)}
        async with (
            front(asr=(asr.address,), tts=groups, voices={"ada": "nova"}) as via,
            http(base_url=via.http) as client,
        ):
            for path, said in {
                "/health/ready?service=asr": "asr",
                "/health/ready?service=tts": "first",
                "/health/ready?service=tts&engine=nova": "other",
                "/health/ready?service=tts&voice=ada": "other",
                "/nova/health/ready?service=tts": "other",
            }.items():
                answer = await client.get(path)
                assert answer.text == said, path
    assert {line.split()[1].partition("?")[0] for line, _ in other.requests} == {"/health/ready"}


@pytest.mark.real_time
async def test_a_hanging_instance_does_not_make_the_others_seem_away(
    front: StartFront, asr_pair: Pair
) -> None:
    hangs = socket.create_server(("127.0.0.1", 0))  # accepts, and says nothing
    with contextlib.closing(hangs):
        hanging = f"127.0.0.1:{hangs.getsockname()[1]}"
        async with front(asr=(hanging, asr_pair.one.address)) as via, http() as client:
            for _ in range(3):
                answer = await client.get(f"{via.http}/health/ready?service=asr")
                assert answer.status_code == 200


async def test_that_no_instance_answers_is_not_what_one_says_of_itself(front: StartFront) -> None:
    async with front() as via, http() as client:
        answer = await client.get(f"{via.http}/health/ready?service=tts")
        assert is_refusal(answer, 504, ErrorCode.OVERLOADED, retryable=True)


@pytest.mark.parametrize("path", ["/health/ready", "/nova/health/ready"])
async def test_strangers_do_not_learn_who_is_ready(front: StartFront, path: str) -> None:
    groups = {"default": ("127.0.0.1:2",), "nova": ("127.0.0.1:3",)}
    async with front(tts=groups) as via, http() as client:
        for headers in ({"X-Forwarded-For": "10.0.0.7"}, {"Via": "1.1 proxy"}):
            answer = await client.get(f"{via.http}{path}?service=tts", headers=headers)
            assert is_refusal(answer, 404, ErrorCode.NOT_FOUND, retryable=False)
        assert (await client.get(f"{via.http}{path}?service=tts")).status_code == 504


# Coming back.


async def comes_back(via: Front, caller: Caller) -> Resumed:
    id = caller.all(Ready)[0].session_id
    async with session(via.ws, query=f"?session_id={id}&last_event=0", ready=False) as again:
        resumed = await again.hear(Resumed)
        assert resumed.session_id == id
        await again.stop()
    return resumed


async def test_who_comes_back_finds_the_session(front: StartFront, asr_pair: Pair) -> None:
    async with front(asr=asr_pair.addresses) as via, AsyncExitStack() as stack:
        callers = [
            await stack.enter_async_context(session(via.ws, start={"resumable": True, **PLAIN}))
            for _ in range(4)
        ]
        assert asr_pair.sessions == (2, 2)
        for caller in callers:
            await caller.audio(SPEECH)
            caller.socket.transport.abort()
        for caller in callers:
            assert (await comes_back(via, caller)).received >= 1
    await eventually(lambda: asr_pair.sessions == (0, 0))


async def test_a_session_that_nobody_has_is_refused_where_browsers_can_read_it(
    front: StartFront, asr_pair: Pair
) -> None:
    query = f"?session_id={'0' * 32}&last_event=0"
    async with (
        front(asr=asr_pair.addresses) as via,
        session(via.ws, query=query, ready=False) as caller,
    ):
        await caller.hear_error(ErrorCode.SESSION_NOT_FOUND, close=1008)


async def test_sessions_outlive_a_reload(front: StartFront, asr_pair: Pair) -> None:
    async with front(asr=(asr_pair.one.address,)) as via, session(via.ws, start=PLAIN) as caller:
        await via.balancer.reload(via.plan.model_copy(update={"asr": (asr_pair.other.address,)}))

        async def reaches_the_other() -> bool:
            async with session(via.ws):
                return asr_pair.other.lifecycle.sessions == 1

        await eventually(lambda: asr_pair.sessions[0] == 1)
        for _ in range(200):  # until nginx has started its new workers
            if await reaches_the_other():
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("new sessions still go to the old instance")
        await caller.audio(SPEECH)
        await caller.stop()
        assert caller.text


# What goes through, and where to.


async def test_keys_and_traces_go_through_and_probes_are_nginxs_own(front: StartFront) -> None:
    sent = {
        "Authorization": "Bearer sesame",
        "Sec-WebSocket-Protocol": "voice, sesame",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Request-ID": "call-17/a=b",
        "X-Voice-Probe": "1",
    }
    async with listening() as instance, front(asr=(instance.address,)) as via, http() as client:
        answer = await client.get(f"{via.http}/v1/stream/asr", headers=sent)
    _, headers = instance.requests[0]
    assert headers["authorization"] == "bearer sesame"
    assert headers["sec-websocket-protocol"] == "voice, sesame"
    assert headers["traceparent"] == sent["traceparent"]
    assert headers["x-request-id"] == answer.headers["X-Request-ID"] == "call-17/a=b"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert "x-voice-probe" not in headers


async def test_a_strangers_trace_stays_outside(front: StartFront) -> None:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    strangers = ClientLimits(trusted=())
    async with (
        listening() as instance,
        front(asr=(instance.address,), limits=strangers) as via,
        http() as client,
    ):
        await client.get(f"{via.http}/v1/stream/asr", headers=trace)
    assert "traceparent" not in instance.requests[0][1]


async def test_a_request_gets_an_id_unless_it_has_a_harmless_one(front: StartFront) -> None:
    async with listening() as instance, front(asr=(instance.address,)) as via, http() as client:
        for given in ({}, {"X-Request-ID": 'no "quotes"'}, {"X-Request-ID": "x" * 129}):
            answer = await client.get(f"{via.http}/v1/stream/asr", headers=given)
            assert len(answer.headers["X-Request-ID"]) == 32


async def test_speech_is_routed_by_engine_and_voice(front: StartFront) -> None:
    async with listening() as chatterbox, listening() as fastpitch:
        groups = {"chatterbox": (chatterbox.address,), "fastpitch": (fastpitch.address,)}
        async with front(tts=groups, voices={"vi": "fastpitch"}) as via, http() as client:
            for there in (
                "/v1/synthesize?voice=vi",
                "/v1/stream/tts?engine=fastpitch",
                "/v1/voices/vi/sample",
                "/fastpitch/v1/stream/tts?x=1",
                "/fastpitch/v1/voices/a%20b",
            ):
                await client.get(via.http + there)
            assert (await client.get(f"{via.http}/fastpitch/metrics")).status_code == 404
            for here in ("/v1/synthesize", "/v1/stream/tts?voice=mine", "/v1/voices"):
                await client.get(via.http + here)
    assert [line.split()[1] for line, _ in chatterbox.requests] == [
        "/v1/synthesize",
        "/v1/stream/tts?voice=mine",
        "/v1/voices",
    ]
    assert [line.split()[1] for line, _ in fastpitch.requests][-2:] == [
        "/v1/stream/tts?x=1",
        "/v1/voices/a%20b",
    ]
    assert len(fastpitch.requests) == 5


async def test_tokens_for_browsers_are_made_behind_nginx(front: StartFront) -> None:
    async with listening() as instance, front(asr=(instance.address,)) as via, http() as client:
        assert (await client.post(f"{via.http}/v1/tokens", json={})).text == "ok"


@pytest.mark.parametrize(
    ("alone", "its_own", "the_others"),
    [
        ("asr", ["/v1/stream/asr", "/v1/transcribe"], ["/v1/synthesize", "/v1/voices"]),
        ("tts", ["/v1/stream/tts", "/v1/voices/joe"], ["/v1/stream/asr", "/v1/transcribe"]),
    ],
)
async def test_one_service_is_served_without_the_other(
    front: StartFront, alone: str, its_own: list[str], the_others: list[str]
) -> None:
    async with listening() as instance:
        both: dict[str, Any] = {"asr": (), "tts": {}}
        both[alone] = (instance.address,) if alone == "asr" else {"default": (instance.address,)}
        async with front(**both) as via, http(base_url=via.http) as client:
            for path in (*its_own, "/v1/tokens", f"/health/ready?service={alone}"):
                assert (await client.get(path)).text == "ok", path
            other = "tts" if alone == "asr" else "asr"
            for path in (*the_others, f"/health/ready?service={other}", "/health/ready"):
                answer = await client.get(path)
                assert is_refusal(answer, 404, ErrorCode.NOT_FOUND, retryable=False), path


@pytest.mark.parametrize(
    "path", ["/health/ready", "/health/live?service=asr", "/metrics", "/docs", "/openapi.json", "/"]
)
async def test_what_is_the_operators_is_not_shown(
    front: StartFront, asr_pair: Pair, path: str
) -> None:
    async with front(asr=asr_pair.addresses) as via, http() as client:
        assert is_refusal(
            await client.get(via.http + path), 404, ErrorCode.NOT_FOUND, retryable=False
        )


# Limits.


async def test_one_address_opens_so_many_connections(front: StartFront, asr_pair: Pair) -> None:
    limits = ClientLimits(address_connections=2, address_rate=0, trusted=())
    async with front(asr=asr_pair.addresses, limits=limits) as via, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(session(via.ws))
        async with http() as client:
            answer = await client.get(f"{via.http}/v1/stream/asr")
        assert is_refusal(answer, 429, ErrorCode.OVERLOADED, retryable=True)


BEARER = ("Authorization", "Bearer {}")
BROWSER = ("Sec-WebSocket-Protocol", "voice, {}")


@pytest.mark.parametrize(
    ("opened", "asked"),
    [
        (BEARER, BEARER),
        (BROWSER, BROWSER),
        # The services take it for the same key, however it is written.
        (BEARER, ("Authorization", "bEARER  {}")),
        (BEARER, BROWSER),
        (BEARER, ("Sec-WebSocket-Protocol", "voice ,{}")),
    ],
)
async def test_one_key_opens_so_many_connections(
    front: StartFront, asr_pair: Pair, opened: tuple[str, str], asked: tuple[str, str]
) -> None:
    def offering(way: tuple[str, str], key: str) -> dict[str, str]:
        return {way[0]: way[1].format(key)}

    limits = ClientLimits(key_connections=1, address_connections=0, address_rate=0, trusted=())
    mine: dict[str, Any] = {"subprotocols": ["voice", "mine"]}
    if opened is BEARER:
        mine = {"additional_headers": offering(BEARER, "mine")}
    async with (
        front(asr=asr_pair.addresses, limits=limits) as via,
        http() as client,
        session(via.ws, **mine),
    ):
        url = f"{via.http}/v1/stream/asr"
        assert (await client.get(url, headers=offering(asked, "mine"))).status_code == 429
        for let_in in (offering(asked, "another"), {}):
            assert (await client.get(url, headers=let_in)).status_code != 429


@pytest.mark.real_time
async def test_one_address_begins_so_much_a_second(front: StartFront, asr_pair: Pair) -> None:
    limits = ClientLimits(address_rate=1, address_burst=3, trusted=())
    async with front(asr=asr_pair.addresses, limits=limits) as via, http() as client:
        answers = [await client.get(f"{via.http}/v1/stream/asr") for _ in range(6)]
    assert [answer.status_code for answer in answers][:4] == [404] * 4
    assert is_refusal(answers[-1], 429, ErrorCode.OVERLOADED, retryable=True)


async def test_a_gateway_on_this_machine_is_not_limited(front: StartFront, asr_pair: Pair) -> None:
    limits = ClientLimits(address_connections=1, address_rate=1, address_burst=0)
    async with front(asr=asr_pair.addresses, limits=limits) as via, AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(session(via.ws))


TIGHT = ClientLimits(address_rate=1, address_burst=0)


async def statuses(via: Front, *sent: dict[str, str]) -> list[int]:
    async with http() as client:
        url = f"{via.http}/v1/stream/asr"
        return [(await client.get(url, headers=headers)).status_code for headers in sent]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
@pytest.mark.real_time
async def test_who_comes_through_a_proxy_on_this_machine_is_not_trusted(
    front: StartFront, asr_pair: Pair, header: str
) -> None:
    async with front(asr=asr_pair.addresses, limits=TIGHT) as via:
        assert await statuses(via, {}, {}) == [404, 404], "a program of this machine"
        assert await statuses(via, {header: "a"}, {header: "127.0.0.1"}) == [404, 429]


@pytest.mark.real_time
async def test_behind_a_known_proxy_each_caller_has_an_address_of_its_own(
    front: StartFront, asr_pair: Pair
) -> None:
    def by(client: str) -> dict[str, str]:
        return {"X-Forwarded-For": client}

    limits = TIGHT.model_copy(update={"trusted": ("127.0.0.0/8", "10.0.0.7/32")})
    behind = ("127.0.0.0/8",)
    async with front(asr=asr_pair.addresses, limits=limits, behind=behind) as via:
        assert await statuses(via, by("1.2.3.4"), by("1.2.3.5"), by("1.2.3.4")) == [404, 404, 429]
        # What a caller claims stands before what the proxy adds.
        assert await statuses(via, by("127.0.0.1, 1.2.3.6"), by("10.0.0.7, 1.2.3.6")) == [404, 429]
        assert await statuses(via, *[by("10.0.0.7")] * 3) == [404] * 3, "a gateway that is trusted"


@pytest.mark.real_time
async def test_an_ipv6_caller_is_its_network(front: StartFront, asr_pair: Pair) -> None:
    """A home has 2⁶⁴ addresses: with a limit for each it would have none."""
    limits = TIGHT.model_copy(update={"trusted": ()})
    async with front(asr=asr_pair.addresses, limits=limits, behind=("127.0.0.0/8",)) as via:
        homes = ["2001:db8::1", "2001:db8::2:a"], ["2001:db8:0:1::1"], ["2001:db8:a0a:a::"] * 2
        sent = [{"X-Forwarded-For": caller} for home in homes for caller in home]
        assert await statuses(via, *sent) == [404, 429, 404, 404, 429]


async def raw(via: Front, request: bytes) -> httpx.Response:
    """What is answered to bytes that no client library would send."""
    host, _, port = via.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = [line.split(": ", 1) for line in lines[1:] if line]
    body = await reader.read()
    writer.close()
    return httpx.Response(int(lines[0].split()[1]), headers=dict(headers), content=body)


async def test_what_nginx_cannot_read_it_refuses_in_the_services_shape(front: StartFront) -> None:
    end = b"Connection: close\r\n\r\n"
    async with front() as via:
        for request in (
            b"POST /v1/synthesize HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n" + end,
            b"POST /v1/synthesize HTTP/1.1\r\n" + end,
            b"POST /v1/synthesize HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n" + end,
            b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n" + end,
            b"\x16\x03\x01 no HTTP at all\r\n\r\n",
        ):
            answer = await raw(via, request)
            assert is_refusal(answer, 400, ErrorCode.INVALID_MESSAGE, retryable=False), request[:40]


async def test_a_large_upload_gets_through_and_a_larger_one_does_not(
    front: StartFront, asr_pair: Pair
) -> None:
    recording = encoded(tone(400, 15_000), "wav", "pcm_s16le")
    assert 1 << 20 < len(recording) < 2 << 20
    for megabytes, status in ((2, 200), (1, 413)):
        uploads = Uploads(asr_mb=megabytes)
        async with front(asr=asr_pair.addresses, uploads=uploads) as via, http() as client:
            url = f"{via.http}/v1/transcribe"
            answer = await client.post(url, files={"file": ("a.wav", recording)})
            assert answer.status_code == status, answer.text
    assert is_refusal(answer, 413, ErrorCode.MESSAGE_TOO_LARGE, retryable=False)


# TLS, and the process itself.


class Certified(NamedTuple):
    tls: Tls
    trusting: ssl.SSLContext
    """For clients that trust its certificate."""


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "::1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.private_key_pem.write_to_path(key)
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return Certified(Tls(certificate=chain, key=key, redirect=None), trusting)


async def test_tls_and_the_way_to_it(
    front: StartFront, asr_pair: Pair, certified: Certified
) -> None:
    plain, trusting = f"127.0.0.1:{free_port()}", certified.trusting
    tls = certified.tls.model_copy(update={"redirect": plain, "redirect_port": 1443})
    async with front(asr=asr_pair.addresses, tls=tls) as via:
        async with connect(
            f"wss://{via.address}/v1/stream/asr", ssl=trusting, proxy=None
        ) as socket:
            assert json.loads(await socket.recv())["type"] == "ready"
        async with http(verify=trusting) as client:
            secure = await client.get(f"https://{via.address}/metrics")
            assert secure.headers["Strict-Transport-Security"]
            sent_on = await client.post(f"http://{plain}/v1/synthesize?voice=joe")
            assert sent_on.status_code == 308
            assert sent_on.headers["Location"] == "https://127.0.0.1:1443/v1/synthesize?voice=joe"
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        trusting.set_ciphers("AES128-SHA")
        async with http(verify=trusting) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"https://{via.address}/metrics")


async def test_programs_of_this_machine_need_no_certificate(
    front: StartFront, asr_pair: Pair, certified: Certified
) -> None:
    """A bridge beside nginx is not limited, whatever address the certificate's name has."""
    inner = f"127.0.0.1:{free_port()}"
    limits = ClientLimits(address_connections=1, address_rate=1, address_burst=0)
    via = front(asr=asr_pair.addresses, tls=certified.tls, inner=inner, limits=limits)
    async with via as outer, AsyncExitStack() as stack, http(verify=certified.trusting) as client:
        for _ in range(3):
            await stack.enter_async_context(session(f"ws://{inner}"))
        asked = f"http://{inner}/health/ready?service=asr"
        assert (await client.get(asked)).json()["phase"] == "ready"
        assert (await client.get(f"https://{outer.address}/metrics")).status_code == 404
        plain = await client.get(f"http://{outer.address}/metrics")
        assert is_refusal(plain, 400, ErrorCode.INVALID_MESSAGE, retryable=False)


async def test_ipv6_beside_ipv4(front: StartFront, asr_pair: Pair, certified: Certified) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    port, plain = free_port(), free_port()
    tls = certified.tls.model_copy(update={"redirect": str(plain)})
    async with (
        front(asr=asr_pair.addresses, listen=str(port), ipv6=True, tls=tls),
        http(verify=certified.trusting) as client,
    ):
        for host in ("127.0.0.1", "[::1]"):
            answer = await client.get(f"https://{host}:{port}/v1/stream/asr")
            assert answer.json()["code"] == ErrorCode.NOT_FOUND
            assert (await client.get(f"http://{host}:{plain}/")).status_code == 308


async def test_logs_have_no_queries_and_no_keys(front: StartFront, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with listening() as instance, front(asr=(instance.address,), access_log=log) as via:
        async with http() as client:
            key = {"Authorization": "Bearer sesame"}
            await client.get(f"{via.http}/v1/stream/asr?session_id=open", headers=key)
        await eventually(lambda: log.stat().st_size > 0)
    entry = json.loads(log.read_text())
    assert entry["path"] == "/v1/stream/asr" and entry["instance"] == instance.address
    assert "sesame" not in log.read_text() and "open" not in log.read_text()


async def test_counters_are_told_where_the_operator_wants_them(front: StartFront) -> None:
    status = f"127.0.0.1:{free_port()}"
    async with front(status=status), http() as client:
        assert "Active connections" in (await client.get(f"http://{status}/status")).text
        assert (await client.get(f"http://{status}/")).status_code == 404


async def test_prometheus_can_read_the_counters(front: StartFront, asr_pair: Pair) -> None:
    status = f"127.0.0.1:{free_port()}"

    async def told() -> dict[str, float]:
        answer = await client.get(f"http://{status}/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain")
        families = list(text_string_to_metric_families(answer.text))
        assert {family.type for family in families} == {"gauge"}
        return {sample.name: sample.value for family in families for sample in family.samples}

    async with front(asr=asr_pair.addresses, status=status) as via, http() as client:
        before = await told()
        assert {name.removeprefix("nginx_connections_") for name in before} == {
            "active", "reading", "writing", "waiting"
        }  # fmt: skip
        async with (
            connect(f"{via.ws}/v1/stream/asr", proxy=None),
            connect(f"{via.ws}/v1/stream/asr", proxy=None),
        ):
            within = await told()
        assert within["nginx_connections_active"] == before["nginx_connections_active"] + 2
        assert within["nginx_connections_writing"] == before["nginx_connections_writing"] + 2


@pytest.mark.slow  # nginx tries for 2.5 s
async def test_a_taken_port_is_told_in_nginxs_words(front: StartFront) -> None:
    async with listening() as taken:
        with pytest.raises(BalancerFailed, match="Address already in use"):
            async with front(status=taken.address):
                pass
