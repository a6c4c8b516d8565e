"""What keys, tokens and origins do to real clients of both services."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

import services.asr.app
import services.tts.app
from services.shared.media.wav import wav_bytes
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ServerConfig
from services.shared.runtime.key_store import KeyStore, imported, write_secret
from services.shared.runtime.keys import KeyLimits, KeyRecord, Scope, changed_key, new_key
from services.tts.config import (
    EnginesConfig,
    FakeEngineConfig,
    PiperEngineConfig,
    ReferenceConfig,
    TtsConfig,
    VoicesConfig,
)
from tests.services.asr.conftest import tones as asr_tones
from tests.services.asr.sounds import RATE, tone
from tests.services.serving import LiveService, eventually, serving
from tests.services.tts.cloning.recordings import STATEMENT, buzz, wav

APP, EVIL = "https://app.example", "https://evil.example"


class House:
    """Both services with one keys file, and the keys that were made for it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.store = KeyStore(folder / "keys.yaml")
        write_secret(folder / "secret")
        self._numbers = itertools.count()
        self._folder = folder
        self._stack = stack
        self._models = ModelStore()

    def key(self, *scopes: Scope, owner: str | None = None, **limits: Any) -> tuple[str, KeyRecord]:
        key, record = new_key(
            f"key {next(self._numbers)}",
            scopes=scopes or (Scope.ASR, Scope.TTS),
            owner=owner,
            limits=KeyLimits(**limits),
            now=datetime.now(UTC),
        )
        self.store.add(record)
        return key, record

    def server(self, **settings: Any) -> ServerConfig:
        named = {
            "keys_file": self._folder / "keys.yaml",
            "token_secret_file": self._folder / "secret",
            "drain_s": 0.5,
        }
        return ServerConfig.model_validate({**named, **settings})

    def asr(self, **settings: Any) -> LiveService:
        config = asr_tones(server=self.server(**settings))
        app = services.asr.app.create_app(config, self._models)
        return self._stack.enter_context(serving(app, config.limits, config.server))

    def tts(self, **settings: Any) -> LiveService:
        fake = FakeEngineConfig(enabled=True, cloning=True)
        config = TtsConfig(
            engines=EnginesConfig(piper=PiperEngineConfig(enabled=False), fake=fake),
            voices=VoicesConfig(
                store=str(self._folder / "voices"), reference=ReferenceConfig(vad="energy")
            ),
            server=self.server(**settings),
        )
        app = services.tts.app.create_app(config, self._models)
        return self._stack.enter_context(serving(app, config.limits, config.server))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack)


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def opened(live: LiveService, key: str | None = None, **about: Any) -> Any:
    """A WebSocket with a key in its header, or as pages do it."""
    path = "asr" if live.lifecycle.owners[0].name == "vad" else "tts"
    headers = bearing(key) if key else {}
    return connect(f"{live.ws}/v1/stream/{path}", additional_headers=headers, proxy=None, **about)


async def refusal(opening: Any) -> tuple[int, dict[str, Any], str | None]:
    """How an upgrade was refused: status, error, Retry-After."""
    with pytest.raises(InvalidStatus) as caught:
        await opening
    response = caught.value.response
    wait = response.headers.get("Retry-After")
    return response.status_code, json.loads(response.body or b""), wait


async def ending(socket: ClientConnection) -> tuple[dict[str, Any], int | None]:
    """The last message, and the close code."""
    last: dict[str, Any] = {}
    async with asyncio.timeout(10):
        while True:
            try:
                frame = await socket.recv()
            except ConnectionClosed:
                return last, socket.close_code
            if isinstance(frame, str):
                last = json.loads(frame)


def client(live: LiveService, key: str | None = None, **headers: str) -> httpx.AsyncClient:
    bearer = bearing(key) if key else {}
    return httpx.AsyncClient(base_url=live.http, trust_env=False, headers={**bearer, **headers})


# Tokens.


async def test_a_page_gets_a_token_of_one_service_and_uses_the_other(house: House) -> None:
    key, _ = await asyncio.to_thread(house.key, Scope.ASR, Scope.TTS, Scope.TOKENS)
    asr, tts = await asyncio.to_thread(lambda: (house.asr(), house.tts()))
    wanted = {"ttl_s": 60, "scopes": ["tts"], "limits": {"sessions": 1, "characters": 20}}
    async with client(asr, key) as http:
        answer = await http.post("/v1/tokens", json=wanted)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["scopes"] == ["tts"]
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert 55 < left.total_seconds() <= 60
    offered = [Subprotocol("voice"), Subprotocol(told["token"])]
    async with opened(tts, subprotocols=offered) as page:
        assert page.subprotocol == "voice", "the token is not echoed"
        assert json.loads(await page.recv())["type"] == "ready"
        status, error, wait = await refusal(opened(tts, told["token"]))
        assert (status, error["code"], wait) == (429, "quota_exceeded", "2")
        await page.send(json.dumps({"type": "start"}))
        await page.send(json.dumps({"type": "text", "text": "Twenty characters, or"}))
        last, code = await ending(page)
        assert (last["code"], last["retryable"], code) == ("quota_exceeded", False, 1008)
    status, error, _ = await refusal(opened(asr, told["token"]))
    assert (status, error["code"]) == (403, "forbidden")


WISHES: list[tuple[dict[str, Any], int, str | None]] = [
    ({}, 201, None),
    ({"scopes": ["asr"], "ttl_s": 3600}, 201, None),
    ({"scopes": ["voices"]}, 403, "forbidden"),
    ({"scopes": ["tokens"]}, 403, "forbidden"),
    ({"scopes": ["root"]}, 422, "invalid_message"),
    ({"scopes": []}, 422, "invalid_message"),
    ({"ttl_s": 3601}, 422, "invalid_message"),
    ({"ttl_s": 9}, 422, "invalid_message"),
    ({"owner": "acme"}, 422, "invalid_message"),
]


async def test_what_can_be_asked_for(house: House) -> None:
    key, _ = await asyncio.to_thread(house.key, Scope.ASR, Scope.TOKENS)
    live = await asyncio.to_thread(house.asr)
    async with client(live, key) as http:
        for wanted, status, code in WISHES:
            answer = await http.post("/v1/tokens", json=wanted)
            assert (answer.status_code, answer.json().get("code")) == (status, code), wanted
        assert (made := await http.post("/v1/tokens", json={})).json()["scopes"] == ["asr"]
        again = await http.post("/v1/tokens", json={}, headers=bearing(made.json()["token"]))
        assert (again.status_code, again.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("settings", [{"token_secret_file": None}, {"keys_file": None}])
async def test_where_there_are_no_tokens(house: House, settings: dict[str, Any]) -> None:
    key, _ = await asyncio.to_thread(house.key, Scope.TOKENS, Scope.ASR)
    live = await asyncio.to_thread(lambda: house.asr(**settings))
    async with client(live, key) as http:
        answer = await http.post("/v1/tokens", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# Limits.


async def test_a_call_ends_when_its_keys_minutes_are_used_up(house: House) -> None:
    key, _ = await asyncio.to_thread(house.key, audio_minutes_per_day=2 / 60)
    live = await asyncio.to_thread(house.asr)
    async with opened(live, key) as call:
        for _ in range(50):
            await call.send(bytes(3200))
        last, code = await ending(call)
        assert (last["code"], last["retryable"], code) == ("quota_exceeded", True, 1008)
        assert "midnight UTC" in last["message"]
    async with client(live, key) as http:
        file = {"file": wav_bytes(tone(400, 1500), RATE)}
        answer = await http.post("/v1/transcribe", files=file)
        assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
    status, error, wait = await refusal(opened(live, key))
    assert (status, error["code"], wait is not None) == (429, "quota_exceeded", True)
    assert live.lifecycle.sessions == 0


async def test_characters_are_counted_over_both_transports(house: House) -> None:
    key, _ = await asyncio.to_thread(house.key, characters_per_day=30)
    live = await asyncio.to_thread(house.tts)
    async with client(live, key) as http:
        spoken = await http.post("/v1/synthesize", json={"text": "Ten chars."})
        assert spoken.status_code == 200
        refused = await http.post("/v1/synthesize", json={"text": "x" * 21})
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    async with opened(live, key) as session:
        await session.send(json.dumps({"type": "start"}))
        await session.send(json.dumps({"type": "text", "text": "x" * 20}))
        await session.send(json.dumps({"type": "text", "text": "y"}))
        last, code = await ending(session)
        assert (last["code"], code) == ("quota_exceeded", 1008)


async def test_sessions_of_a_key_are_counted_and_others_are_not_in_its_way(house: House) -> None:
    key, _ = await asyncio.to_thread(lambda: house.key(sessions=1))
    other, _ = await asyncio.to_thread(house.key)
    live = await asyncio.to_thread(house.asr)
    async with opened(live, key):
        status, error, wait = await refusal(opened(live, key))
        assert (status, error["code"], wait) == (429, "quota_exceeded", "2")
        async with client(live, key) as http:
            answer = await http.post("/v1/transcribe", files={"file": b"x"})
            assert answer.status_code == 429
        async with opened(live, other):
            pass
    await eventually(lambda: live.lifecycle.sessions == 0)
    async with opened(live, key):
        pass


async def test_a_revoked_key_ends_its_calls_and_opens_no_others(house: House) -> None:
    key, record = await asyncio.to_thread(house.key)
    live = await asyncio.to_thread(house.asr)
    async with opened(live, key) as call:
        await call.send(bytes(3200))
        await asyncio.to_thread(house.store.revoke, record.id, datetime.now(UTC))
        ended = asyncio.create_task(ending(call))
        while not ended.done():
            with suppress(ConnectionClosed):
                await call.send(bytes(3200))
            await asyncio.sleep(0.05)
        last, code = await ended
    assert (last["code"], code) == ("unauthorized", 1008)
    assert last["message"] == "the API key was revoked"
    status, error, _ = await refusal(opened(live, key))
    assert (status, error["message"]) == (401, "the API key was revoked")


async def test_a_changed_key_has_its_new_rights_at_once_and_its_call_goes_on(house: House) -> None:
    key, record = await asyncio.to_thread(lambda: house.key(Scope.ASR, sessions=1))
    live = await asyncio.to_thread(house.asr)

    async def becomes(**changes: Any) -> None:
        known = live.lifecycle.keys.record(record.id)
        now = datetime.now(UTC)

        def alter(record: KeyRecord) -> KeyRecord:
            return changed_key(record, now=now, **changes)

        await asyncio.to_thread(house.store.change, record.id, alter)
        await eventually(lambda: live.lifecycle.keys.record(record.id) != known)

    async with opened(live, key) as call:
        status, error, _ = await refusal(opened(live, key))
        assert (status, error["code"]) == (429, "quota_exceeded")
        await becomes(limits={"sessions": 2})
        async with opened(live, key):
            pass
        await becomes(limits={}, scopes={Scope.TTS})
        status, error, _ = await refusal(opened(live, key))
        assert (status, error["code"]) == (403, "forbidden")
        await call.send(json.dumps({"type": "start"}))
        assert json.loads(await call.recv())["type"] == "ready", "it was let in before"


# Whose voices.


async def make_voice(http: httpx.AsyncClient) -> httpx.Response:
    form = {"name": "Ada", "language": "en-US", "consent": STATEMENT}
    return await http.post("/v1/voices", data=form, files={"file": wav(buzz(120, 5))})


async def test_voices_outlive_the_key_and_stay_with_its_owner(house: House) -> None:
    scopes = (Scope.TTS, Scope.VOICES)
    first, record = await asyncio.to_thread(lambda: house.key(*scopes, owner="acme", voices=1))
    other, _ = await asyncio.to_thread(house.key, *scopes)
    second, _ = await asyncio.to_thread(
        house.store.rotate, record.id, datetime.now(UTC), None, None
    )
    live = await asyncio.to_thread(house.tts)
    async with client(live, second) as http, client(live, other) as stranger:
        made = (await make_voice(http)).json()
        assert made["consent"]["key_id"] != "acme"
        path = f"/v1/voices/{made['id']}"
        assert (await http.get(path)).status_code == 200
        assert (await stranger.get(path)).status_code == 404
        full = await make_voice(http)
        assert (full.status_code, full.json()["code"]) == (409, "too_many_voices")
        assert (await http.get(path, headers=bearing(first))).status_code == 401


async def test_a_key_has_no_more_voices_for_asking_for_several_at_once(house: House) -> None:
    key, _ = await asyncio.to_thread(lambda: house.key(Scope.VOICES, Scope.TTS, voices=1))
    live = await asyncio.to_thread(house.tts)
    async with client(live, key) as http:
        answers = await asyncio.gather(make_voice(http), make_voice(http))
        assert sorted(each.status_code for each in answers) == [201, 409]
        assert {answer.json().get("code") for answer in answers} == {None, "too_many_voices"}


async def test_voices_of_a_plain_key_are_there_after_it_was_taken_over(house: House) -> None:
    plain = "a-plain-key-of-some-length"
    live = await asyncio.to_thread(lambda: house.tts(keys_file=None, api_keys=[plain]))
    async with client(live, plain) as http:
        made = (await make_voice(http)).json()
    await asyncio.to_thread(house.store.add, *imported(plain, frozenset(Scope)))
    again = await asyncio.to_thread(house.tts)
    async with client(again, plain) as http:
        assert (await http.get(f"/v1/voices/{made['id']}")).status_code == 200


# Web pages.


async def test_pages_of_elsewhere_are_refused_before_the_upgrade(house: House) -> None:
    """Also without keys, where that is all that protects a developer's own machine."""
    live = await asyncio.to_thread(lambda: house.asr(keys_file=None, allowed_origins=[APP]))
    for origin in (EVIL, "null", f"{APP}.evil.example"):
        status, error, _ = await refusal(opened(live, origin=Origin(origin)))
        assert (status, error["code"]) == (403, "forbidden")
    for fine in (APP, live.http, None):
        async with opened(live, origin=Origin(fine) if fine else None) as page:
            assert json.loads(await page.recv())["type"] == "ready"
    # A name of the page's own that was made to mean this machine.
    rebound = connect(
        f"ws://evil.example:{live.address.rpartition(':')[2]}/v1/stream/asr",
        host="127.0.0.1",
        origin=Origin(f"http://evil.example:{live.address.rpartition(':')[2]}"),
        proxy=None,
    )
    assert (await refusal(rebound))[0] == 403


async def test_a_form_of_another_page_does_nothing(house: House) -> None:
    live = await asyncio.to_thread(lambda: house.tts(keys_file=None))
    async with client(live, Origin=EVIL) as http:
        for refused in (
            await make_voice(http),
            await http.post("/v1/voices", files={"file": bytes(20_000_000)}),
        ):
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "access-control-allow-origin" not in refused.headers
    async with client(live) as http:
        listed = (await http.get("/v1/voices")).json()["voices"]
        assert not any(voice["cloned"] for voice in listed)
        assert (await make_voice(http)).status_code == 201


async def test_a_page_that_may_reads_answers_and_refusals(house: House) -> None:
    key, _ = await asyncio.to_thread(house.key)
    live = await asyncio.to_thread(lambda: house.tts(allowed_origins=[APP]))
    asking = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with client(live, Origin=APP) as http:
        preflight = await http.options("/v1/synthesize", headers=asking)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == APP
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "access-control-allow-credentials" not in preflight.headers
        spoken = await http.post("/v1/synthesize", json={"text": "Hi."}, headers=bearing(key))
        assert spoken.headers["access-control-allow-origin"] == APP
        assert "X-Sample-Rate" in spoken.headers["access-control-expose-headers"]
        refused = await http.post("/v1/synthesize", json={"text": "Hi."})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == APP
    async with client(live, Origin=EVIL) as http:
        assert (await http.options("/v1/synthesize", headers=asking)).status_code == 403


async def test_a_page_that_may_reads_refusals_of_its_body_and_our_faults(house: House) -> None:
    live = await asyncio.to_thread(lambda: house.tts(keys_file=None, allowed_origins=[APP]))

    def fail() -> None:
        raise RuntimeError("a fault of ours")

    async with client(live, Origin=APP) as http:
        large = await http.post("/v1/synthesize", content=b" " * 5_000_000)
        assert (large.status_code, large.json()["code"]) == (413, "message_too_large")
        live.lifecycle.gates.append(fail)
        fault = await http.post("/v1/synthesize", json={"text": "Hi."})
        assert (fault.status_code, fault.json()["code"]) == (500, "internal")
        for answer in (large, fault):
            assert answer.headers["access-control-allow-origin"] == APP
            assert answer.headers["vary"] == "Origin"
            assert "Retry-After" in answer.headers["access-control-expose-headers"]
            assert answer.headers["x-request-id"]


async def test_without_a_list_no_page_reads_anything(house: House) -> None:
    live = await asyncio.to_thread(lambda: house.tts(keys_file=None))
    async with client(live, Origin=EVIL) as http:
        for path in ("/health/live", "/openapi.json"):
            answer = await http.get(path)
            assert answer.status_code == 403
    async with client(live) as http:
        assert "access-control-allow-origin" not in (await http.get("/health/live")).headers
