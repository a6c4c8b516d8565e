"""Who is let in, whose stream is whose, and how Twilio is told to go on; over real connections."""

import asyncio
import json
import time
from collections.abc import Iterator

import httpx
import pytest
from structlog.testing import capture_logs
from structlog.types import EventDict
from websockets.exceptions import ConnectionClosed

from examples.asterisk_bridge.bench.measure import sound_spans, tone_level
from examples.twilio.calls import _STRANGERS
from examples.twilio.signature import signature
from examples.voice_agent.transport import (
    CallDeclined,
    CallInfo,
    CallTransport,
    Digit,
    HungUp,
    MarkPlayed,
)
from tests.examples.call_conformance import Script
from tests.examples.twilio.network import (
    AUTH_TOKEN,
    CALLED,
    CALLER,
    PUBLIC,
    Network,
    calling,
    config_for,
    connected,
    running,
    start,
    token_in,
)
from tests.services.serving import eventually


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


async def refused(network: Network, *sent: str | bytes) -> ConnectionClosed:
    """How a stream that begins so is closed."""
    async with network.stream() as line:
        for message in sent:
            await line.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            async with asyncio.timeout(8):
                await line.recv()
    return caught.value


def code_of(closed: ConnectionClosed) -> int:
    assert closed.rcvd is not None
    return closed.rcvd.code


class Refusals(Script):
    """A conversation that wants to hear of calls that it never gets."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[str, str]] = []

    def refused(self, info: CallInfo, reason: str, *, failed: bool = False) -> None:
        self.noted.append((info.called, reason))


# Webhooks.


async def test_requests_that_twilio_did_not_sign_are_forbidden(logged: list[EventDict]) -> None:
    form = {"CallSid": "CA1", "From": CALLER, "To": CALLED}
    good = signature(AUTH_TOKEN, f"{PUBLIC}/twilio/voice", form.items())
    async with running(Script()) as network, httpx.AsyncClient(trust_env=False) as http:

        async def status(path: str, signed: str | None, **changed: str) -> int:
            headers = {} if signed is None else {"X-Twilio-Signature": signed}
            address = f"{network.url}{path}"
            answer = await http.post(address, data={**form, **changed}, headers=headers)
            assert (answer.status_code == 403) == ("Twilio's signed" in answer.text)
            return answer.status_code

        assert await status("/twilio/voice", good) == 200
        assert await status("/twilio/voice", None) == 403
        assert await status("/twilio/voice", "") == 403
        assert await status("/twilio/voice", good, To="+15550666") == 403
        assert await status("/twilio/voice?consent=given", good) == 403
        assert await status("/twilio/after", good) == 403
        own = signature("another-token", f"{PUBLIC}/twilio/voice", form.items())
        assert await status("/twilio/voice", own) == 403
        huge = await http.post(f"{network.url}/twilio/voice", content=b"a=" + b"b" * (1 << 17))
        assert huge.status_code == 403
        binary = await http.post(f"{network.url}/twilio/voice", content=b"\xff\xfe=1")
        assert binary.status_code == 403
        assert (await http.get(f"{network.url}/twilio/voice")).status_code == 405
    assert [entry["event"] for entry in logged].count("webhook_refused") == 8
    assert AUTH_TOKEN not in repr(logged)


async def test_what_is_known_of_a_call(logged: list[EventDict]) -> None:
    script = Script()
    async with running(script) as network, calling(network, "?consent=given") as phone:
        line = await script.line()
        assert line.info == CallInfo(
            phone.call_sid, CALLER, CALLED, {"consent": "given"}, goes_on=False
        )


@pytest.mark.parametrize(
    "caller",
    ["Anonymous", "restricted", "+266696687", "+7378742833", "+17378742833", "+86282452253"],
)
async def test_a_withheld_number_is_none(caller: str) -> None:
    """Twilio also tells a word as the number that spells it on a telephone's keys."""
    script = Script()
    async with running(script) as network, calling(network, caller=caller):
        assert (await script.line()).info.caller == ""


# Streams.


@pytest.mark.parametrize(
    "sent",
    [
        ["{"],
        [b"\x00\x01"],
        [start("CA1", "t")],
        [connected(), connected()],
        [json.dumps({"event": "😀" * 5000}, ensure_ascii=False)],
        [connected(), "{}"],
        [connected(), b"\xff" * 100],
        [connected(), start("CA1", "guessed")],
        [connected(), start("CA1", "", customParameters={})],
        [connected(), start("CA1", "t", mediaFormat={"encoding": "audio/x-mulaw"})],
    ],
)
async def test_streams_that_are_none_of_ours_are_closed(sent: list[str | bytes]) -> None:
    script = Script()
    async with running(script) as network:
        await network.arrive("CA1")
        assert code_of(await refused(network, *sent)) == 1008
    assert script.transport is None


async def test_what_strangers_say_is_not_repeated_at_length(logged: list[EventDict]) -> None:
    async with running(Script()) as network, httpx.AsyncClient(trust_env=False) as http:
        await refused(network, json.dumps({"event": "x" * 60_000}))
        asked = await http.post(f"{network.url}/twilio/voice?{'x' * 50_000}")
        assert asked.status_code == 403
    assert all(len(repr(entry)) < 500 for entry in logged)


async def test_a_token_is_good_for_one_stream_of_its_own_call() -> None:
    script = Script()
    async with running(script) as network:
        one, told_one = await network.arrive()
        _, told_other = await network.arrive()
        other_token = token_in(told_other)
        assert code_of(await refused(network, connected(), start(one, other_token))) == 1008
        wideband = {"encoding": "audio/x-l16", "sampleRate": 16_000, "channels": 1}
        token = token_in(told_one)
        wrong = start(one, token, mediaFormat=wideband)
        assert "µ-law" in str(await refused(network, connected(), wrong))
        async with network.stream() as line:
            await line.send(connected())
            await line.send(start(one, token))
            await script.line()
            assert code_of(await refused(network, connected(), start(one, token))) == 1008
            assert network.calls.live == 1


async def test_streams_that_say_nothing_are_closed_and_in_nobodys_way() -> None:
    script = Script()
    async with running(script) as network:
        began = time.monotonic()
        opening = (network.stream(signed=False) for _ in range(_STRANGERS))
        silent = await asyncio.gather(*opening)
        async with network.stream(signed=False) as one_more:
            with pytest.raises(ConnectionClosed) as caught:
                await one_more.recv()
        assert code_of(caught.value) == 1013
        async with calling(network):
            await script.line()
        with pytest.raises(ConnectionClosed) as caught:
            async with asyncio.timeout(8):
                await silent[0].recv()
        assert code_of(caught.value) == 1008 and time.monotonic() - began > 4.5
        await asyncio.gather(*(line.close() for line in silent))


async def test_nonsense_in_a_stream_costs_nothing(logged: list[EventDict]) -> None:
    script = Script()
    async with running(script) as network, calling(network) as phone:
        await script.line()
        for text in ("{", "[]", "[" * 9000, '{"event":"new"}', '{"event":"media"}'):
            await phone._line.send(text)
        await phone._line.send(b"\x00" * 160)
        await phone.send("media", media={"track": "inbound", "payload": "no base64"})
        await phone.send("media", media={"track": "outbound", "payload": "AAAA"})
        await phone.send("mark", mark={"name": "never set"})
        await phone.send("dtmf", dtmf={"digit": "55"})
        await phone.press("7")
        await script.wait_for(Digit)
    assert [each for each in script.events if isinstance(each, Digit)] == [Digit("7")]
    assert script.marks == []
    unreadable = [each for each in logged if each["event"] == "stream_message_unreadable"]
    assert len(unreadable) == 1


async def test_a_message_that_is_too_large_ends_the_stream() -> None:
    script = Script()
    async with running(script) as network, calling(network) as phone:
        await script.line()
        await phone._line.send(json.dumps({"event": "media", "media": {"payload": "A" * 70_000}}))
        assert await script.wait_for(HungUp) == [HungUp("the stream was lost", by_caller=True)]


async def test_little_is_under_way_so_that_a_pause_is_soon_heard() -> None:
    script = Script()
    async with running(script) as network, calling(network) as phone:
        line = await script.line()
        await line.send_audio(b"\x80" * 16_000)
        await asyncio.sleep(0.8)
        assert 0 < phone.longest_queue_ms <= 260 + 240  # of 2000; machines of tests may stand still


async def test_keys_that_we_press_are_heard_as_tones() -> None:
    script = Script()
    async with running(script) as network, calling(network) as phone:
        line = await script.line()
        with pytest.raises(ValueError, match="no key"):
            await line.send_digits("5x")
        await line.send_digits("55")
        await line.mark("pressed")
        await script.wait_for(MarkPlayed)
        await asyncio.sleep(0.05)
    spans = sound_spans(phone.heard, phone.rate, join_s=0.02)
    assert [round(end - begin, 1) for begin, end in spans] == [0.1, 0.1]
    begin = spans[0][0]
    tones = phone.heard[round((begin + 0.02) * 8000) : round((begin + 0.08) * 8000)]
    assert all(tone_level(tones, phone.rate, hertz) > 0.4 for hertz in (770, 1336))


# How a call goes on.


async def test_a_transfer_is_dialled_and_who_cannot_be_dialled_keeps_the_agent() -> None:
    script = Script()
    config = config_for(numbers={"2000": "+15550122"})
    async with running(script, config) as network:
        async with calling(network) as phone:
            line = await script.line()
            with pytest.raises(ValueError, match="3000"):
                await line.transfer("3000")
            await line.transfer("2000")
            await asyncio.wait_for(phone.over.wait(), 3)
        told = await network.after(phone.call_sid)
        assert told.findtext("Dial/Number") == "+15550122"
        again = await network.after(phone.call_sid)
        assert again.find("Say") is not None  # it was told once; whoever asks again is lost


class Ends:
    """Conversations that end in their own ways."""

    def __init__(self, error: Exception | None = None, cause: str | None = None) -> None:
        self._error, self._cause = error, cause

    async def __call__(self, line: CallTransport) -> None:
        if self._error is not None:
            raise self._error
        if self._cause is not None:
            await line.hang_up(self._cause)


@pytest.mark.parametrize(
    ("conversation", "says", "dials"),
    [
        (Ends(), None, None),
        (Ends(cause="normal"), None, None),
        (Ends(cause="failed"), "I am sorry", "+15550122"),
        (Ends(CallDeclined("no_route")), "I am sorry", "+15550122"),
        (Ends(RuntimeError("a defect")), "I am sorry", "+15550122"),
        (Ends(TimeoutError("a disk")), "I am sorry", "+15550122"),
    ],
)
async def test_callers_who_cannot_be_served_are_told_or_put_through(
    conversation: Ends, says: str | None, dials: str | None
) -> None:
    for fallback in (None, "+15550122"):
        async with running(conversation, config_for(fallback=fallback)) as network:
            async with calling(network) as phone:
                await asyncio.wait_for(phone.over.wait(), 3)
            told = await network.after(phone.call_sid)
            if says is None:
                assert [child.tag for child in told] == ["Hangup"]
            elif fallback is None:
                assert str(told.findtext("Say")).startswith(says)
            else:
                assert told.findtext("Dial/Number") == dials


async def test_a_call_of_a_process_that_died_goes_to_the_fallback() -> None:
    async with running(Script(), config_for(fallback="+15550122")) as network:
        assert (await network.after("CA404")).findtext("Dial/Number") == "+15550122"


async def test_a_lost_stream_ends_the_conversation_and_the_caller_is_seen_to() -> None:
    script = Script()
    async with running(script) as network:
        async with calling(network) as phone:
            await script.line()
            phone._line.transport.abort()
            assert await script.wait_for(HungUp) == [HungUp("the stream was lost", by_caller=True)]
        assert (await network.after(phone.call_sid)).find("Say") is not None


# Too many, too late, too long.


async def test_calls_past_the_limit_are_busy_or_put_through() -> None:
    script = Refusals()
    async with running(script, config_for(max_calls=1)) as network:
        first, _ = await network.arrive()
        _, told = await network.arrive()
        assert [child.tag for child in told] == ["Reject"]
        _, again = await network.arrive(first)  # Twilio did not get our answer
        assert again.find("Connect") is not None
    async with running(script, config_for(max_calls=0, fallback="+15550122")) as network:
        _, told = await network.arrive()
        assert told.findtext("Dial/Number") == "+15550122"
    assert script.noted == [(CALLED, "busy")] * 2


async def test_a_late_event_loop_takes_no_more_but_never_none_at_all() -> None:
    script = Refusals()
    async with running(script, late_s=lambda: 1.0) as network, calling(network):
        await script.line()
        _, told = await network.arrive()
        assert [child.tag for child in told] == ["Reject"]


async def test_a_stream_that_never_comes_gives_its_place_free() -> None:
    script = Refusals()
    async with running(script, config_for(max_calls=1, stream_s=0.2)) as network:
        call, told = await network.arrive()
        await asyncio.sleep(0.3)
        _, other = await network.arrive(called="+15550777")
        assert other.find("Connect") is not None
        late = start(call, token_in(told))
        assert code_of(await refused(network, connected(), late)) == 1008
        told_after = await network.after(call)
        assert told_after.find("Say") is not None
        assert script.noted.count((CALLED, "no_stream")) == 1


async def test_a_stream_that_twilio_could_not_open_is_not_waited_for() -> None:
    script = Refusals()
    async with running(script, config_for(max_calls=1, fallback="+15550122")) as network:
        call, _ = await network.arrive()
        assert (await network.after(call)).findtext("Dial/Number") == "+15550122"
        _, other = await network.arrive()
        assert other.find("Connect") is not None
    assert script.noted[0] == (CALLED, "no_stream")


async def test_who_drains_lets_those_in_that_it_has_accepted() -> None:
    script = Script()
    async with running(script, config_for(drain_s=3.0)) as network:
        call, told = await network.arrive()
        draining = asyncio.create_task(network.calls.drain())
        await asyncio.sleep(0.1)
        async with network.stream() as line:
            await line.send(connected())
            await line.send(start(call, token_in(told)))
            await script.line()
            await asyncio.sleep(0.1)
            assert not draining.done()
        await asyncio.wait_for(draining, 5)


async def test_who_drains_waits_and_then_puts_callers_through() -> None:
    script = Refusals()
    config = config_for(fallback="+15550122", drain_s=0.5)
    async with running(script, config) as network, calling(network) as phone:
        await script.line()
        began = time.monotonic()
        draining = asyncio.create_task(network.calls.drain())
        await asyncio.sleep(0)
        _, told = await network.arrive()
        assert told.findtext("Dial/Number") == "+15550122"
        assert script.noted == [(CALLED, "drained")]
        await script.wait_for(HungUp)
        assert 0.4 < time.monotonic() - began < 5
        await asyncio.wait_for(phone.over.wait(), 3)
        assert (await network.after(phone.call_sid)).find("Dial") is not None
        await draining
        assert network.calls.live == 0


async def test_who_drains_waits_until_twilio_has_asked_how_its_calls_go_on() -> None:
    script = Script()
    async with running(script, config_for(numbers={"2000": "+15550122"}, drain_s=3.0)) as network:
        async with calling(network) as phone:
            line = await script.line()
            draining = asyncio.create_task(network.calls.drain())
            await line.transfer("2000")
            await asyncio.wait_for(phone.over.wait(), 3)
        await eventually(lambda: network.calls.live == 0)
        await asyncio.sleep(0.3)  # the way of its question
        assert not draining.done()
        told = await network.after(phone.call_sid)
        assert told.findtext("Dial/Number") == "+15550122"
        await asyncio.wait_for(draining, 1.5)  # not until it gives up


async def test_who_drains_does_not_wait_for_questions_about_callers_who_have_left() -> None:
    script = Script()
    async with running(script) as network:
        async with calling(network):
            await script.line()
        await eventually(lambda: network.calls.live == 0)
        await asyncio.wait_for(network.calls.drain(), 1.5)


async def test_no_call_is_endless_and_its_conversation_is_told() -> None:
    script = Script()
    async with running(script, config_for(max_call_s=0.3)) as network:
        async with calling(network) as phone:
            await asyncio.wait_for(phone.over.wait(), 3)
        assert await script.wait_for(HungUp) == [HungUp("the call took too long", by_caller=False)]
        assert [child.tag for child in await network.after(phone.call_sid)] == ["Hangup"]
