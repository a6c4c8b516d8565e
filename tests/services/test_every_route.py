"""Nobody uses a route without a key that is good for it: every route of both services is walked.

The table below says what each route needs. A route that is not in it fails the test, so nobody can
forget to think about a new one.
"""

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

import services.asr.app
import services.tts.app
from services.shared.media.wav import wav_bytes
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ServerConfig
from services.shared.runtime.keys import (
    KeyFile,
    KeyRecord,
    Scope,
    new_key,
    write_key_file,
)
from services.shared.runtime.tokens import Tokens
from services.tts.config import TtsConfig
from tests.services.asr.conftest import tones as asr_tones
from tests.services.asr.sounds import RATE, tone
from tests.services.route_walk import routes
from tests.services.serving import LiveService, serving
from tests.services.tts.conftest import tones as tts_tones

OPEN = {
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/docs",
    "/docs/oauth2-redirect",
    "/redoc",
}
"""Whether the service lives, and what everybody can read in its repository."""

NEEDS: dict[tuple[str, str], tuple[Scope, ...]] = {
    ("GET", "/metrics"): (Scope.METRICS,),
    ("POST", "/v1/tokens"): (Scope.TOKENS,),
    ("WS", "/v1/stream/asr"): (Scope.ASR,),
    ("POST", "/v1/transcribe"): (Scope.ASR,),
    ("WS", "/v1/stream/tts"): (Scope.TTS,),
    ("POST", "/v1/synthesize"): (Scope.TTS,),
    ("GET", "/v1/voices"): (Scope.TTS, Scope.VOICES),
    ("POST", "/v1/voices"): (Scope.VOICES,),
    ("GET", "/v1/voices/{voice}"): (Scope.TTS, Scope.VOICES),
    ("PATCH", "/v1/voices/{voice}"): (Scope.VOICES,),
    ("DELETE", "/v1/voices/{voice}"): (Scope.VOICES,),
    ("GET", "/v1/voices/{voice}/sample"): (Scope.TTS,),
    ("GET", "/v1/lexicon"): (Scope.TTS, Scope.LEXICON),
    ("GET", "/v1/lexicon/{language}"): (Scope.TTS, Scope.LEXICON),
    ("PUT", "/v1/lexicon/{language}/{word}"): (Scope.LEXICON,),
    ("DELETE", "/v1/lexicon/{language}/{word}"): (Scope.LEXICON,),
}
"""A key with one of these may; without any of them it may not."""

BODIES: dict[tuple[str, str], dict[str, object]] = {
    ("POST", "/v1/tokens"): {"json": {}},
    ("POST", "/v1/transcribe"): {"files": {"file": wav_bytes(tone(400, 300), RATE)}},
    ("POST", "/v1/synthesize"): {"json": {"text": "Hello."}},
    ("POST", "/v1/voices"): {"files": {"file": b"no audio"}},
    ("PATCH", "/v1/voices/{voice}"): {"json": {"name": "Ada"}},
    ("PUT", "/v1/lexicon/{language}/{word}"): {"json": {"say": "win"}},
}
VALUES = {"{voice}": "cv_" + "0" * 32, "{language}": "en", "{word}": "Nguyen"}
SECRET = "s" * 32
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Credential:
    """What is offered, and how it is refused."""

    name: str
    bearer: str | None
    status: int
    good_for: frozenset[Scope] = frozenset()


def keys() -> Iterator[tuple[KeyRecord, list[Credential]]]:
    """All kinds of keys, and the tokens that they signed."""
    tokens, strangers = Tokens(SECRET.encode()), Tokens(b"o" * 32)
    whole = frozenset(Scope)
    for name, change in {
        "expired": {"expires_at": NOW - timedelta(seconds=1)},
        "revoked": {"revoked_at": NOW},
    }.items():
        key, record = new_key(name, scopes=Scope, now=NOW - timedelta(days=1))
        token, _ = tokens.sign(record, whole, 3600, NOW.timestamp())
        yield (
            record.model_copy(update=change),
            [Credential(name, key, 401), Credential(f"token of one {name}", token, 401)],
        )
    key, record = new_key("whole", scopes=Scope, now=NOW)
    late, _ = tokens.sign(record, whole, 60, NOW.timestamp() - 61)
    forged, _ = strangers.sign(record, whole, 3600, NOW.timestamp())
    yield (
        record,
        [
            Credential("good for all", key, 200, whole),
            Credential("expired token", late, 401),
            Credential("forged token", forged, 401),
            Credential("a key cut short", key[:-1], 401),
            Credential("a digest", record.sha256, 401),
        ],
    )
    for scope in Scope:
        # Nobody makes tokens without something to put into them.
        scopes = frozenset({scope} | ({Scope.ASR} if scope is Scope.TOKENS else set()))
        key, record = new_key(scope, scopes=scopes, now=NOW)
        wide, _ = tokens.sign(record, whole, 3600, NOW.timestamp())
        yield (
            record,
            [
                Credential(f"only {scope}", key, 403, scopes),
                # What a token says beyond its key is worth nothing; none makes other ones.
                Credential(f"token of only {scope}", wide, 403, scopes - {Scope.TOKENS}),
            ],
        )
    key, record = new_key("none", scopes=Scope, now=NOW)
    narrow, _ = tokens.sign(record, frozenset({Scope.METRICS}), 3600, NOW.timestamp())
    yield record, [Credential("narrow token", narrow, 403, frozenset({Scope.METRICS}))]


MADE = list(keys())
CREDENTIALS = [
    Credential("nothing", None, 401),
    Credential("a wrong key", "vk_0123456789ab_" + "x" * 43, 401),
    Credential("an empty token", "..", 401),
    *itertools.chain.from_iterable(credentials for _, credentials in MADE),
]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LiveService]]:
    """Both services, as those can reach them who are not on this machine."""
    folder: Path = tmp_path_factory.mktemp("keys")
    file, secret = folder / "keys.yaml", folder / "secret"
    file.write_text(write_key_file(KeyFile(keys=tuple(record for record, _ in MADE))))
    secret.write_text(SECRET)
    server = ServerConfig(host="0.0.0.0", keys_file=file, token_secret_file=secret, drain_s=0.5)
    store = ModelStore()
    asr = asr_tones(server=server)
    tts = TtsConfig(engines=tts_tones(), server=server)
    with ExitStack() as stack:
        yield {
            "asr": stack.enter_context(
                serving(services.asr.app.create_app(asr, store), asr.limits, server)
            ),
            "tts": stack.enter_context(
                serving(services.tts.app.create_app(tts, store), tts.limits, server)
            ),
        }


def every_route(app: FastAPI) -> list[tuple[str, str]]:
    return list(routes(app.routes))


def test_every_route_is_open_or_in_the_table() -> None:
    store = ModelStore()
    both = [
        *every_route(services.asr.app.create_app(asr_tones(), store)),
        *every_route(services.tts.app.create_app(TtsConfig(engines=tts_tones()), store)),
    ]
    closed = {(method, path) for method, path in both if path not in OPEN}
    assert closed == set(NEEDS)


def ours(service: str) -> Sequence[tuple[str, str]]:
    own = {"asr": ("asr", "transcribe"), "tts": ("tts", "synthesize", "voices", "lexicon")}[service]
    shared = ("/metrics", "/v1/tokens")
    return [each for each in NEEDS if each[1] in shared or any(name in each[1] for name in own)]


@pytest.mark.parametrize("service", ["asr", "tts"])
@pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda credential: credential.name)
async def test_who_may_and_who_may_not(
    apps: dict[str, LiveService], service: str, credential: Credential
) -> None:
    live = apps[service]
    async with httpx.AsyncClient(base_url=live.http, trust_env=False) as http:
        for method, path in ours(service):
            scopes = NEEDS[method, path]
            if method == "WS":
                told = await upgrades(f"{live.ws}{path}", credential.bearer)
            else:
                told = [await asked(http, method, path, credential.bearer)]
            for status, code in told:
                where = f"{method} {path} with {credential.name}"
                if credential.good_for.isdisjoint(scopes):
                    expected = {401: "unauthorized", 403: "forbidden"}[
                        credential.status if credential.status != 200 else 403
                    ]
                    assert code == expected, where
                    assert status == (401 if expected == "unauthorized" else 403), where
                else:
                    assert status not in (401, 403), where


async def asked(
    http: httpx.AsyncClient, method: str, path: str, bearer: str | None
) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
    body = BODIES.get((method, path), {})
    for name, value in VALUES.items():
        path = path.replace(name, value)
    answer = await http.request(method, path, headers=headers, **body)  # type: ignore[arg-type]
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    refused = answer.status_code in (401, 403)
    return answer.status_code, answer.json()["code"] if refused else ""


async def upgrades(url: str, bearer: str | None) -> list[tuple[int, str]]:
    """How a WebSocket is answered: with the bearer in the header, and as a subprotocol."""
    told = []
    if bearer is None:
        told.append(await upgraded(url, {}, []))
        told.append(await upgraded(url, {}, ["voice"]))
    else:
        told.append(await upgraded(url, {"Authorization": f"Bearer {bearer}"}, []))
        if bearer != "..":
            told.append(await upgraded(url, {}, ["voice", bearer]))
            told.append(
                await upgraded(f"{url}?session_id={'0' * 32}&last_event=0", {}, ["voice", bearer])
            )
    return told


async def upgraded(url: str, headers: dict[str, str], offered: list[str]) -> tuple[int, str]:
    protocols = [Subprotocol(each) for each in offered] or None
    try:
        async with connect(url, additional_headers=headers, subprotocols=protocols, proxy=None):
            return 101, ""
    except InvalidStatus as refusal:
        body = json.loads(refusal.response.body or b"{}")
        return refusal.response.status_code, body["code"]


KEYLESS = next(key for key in CREDENTIALS if key.name == "narrow token")


@pytest.mark.parametrize("service", ["asr", "tts"])
@pytest.mark.parametrize(("bearer", "status"), [(None, 401), (KEYLESS.bearer, 403)])
async def test_the_key_is_looked_at_before_the_body(
    apps: dict[str, LiveService], service: str, bearer: str | None, status: int
) -> None:
    """Of each route: what was announced has not come when the refusal does."""
    host, _, port = apps[service].address.rpartition(":")
    for method, path in ours(service):
        if method in ("GET", "WS"):
            continue
        reader, writer = await asyncio.open_connection(host, int(port))
        for name, value in VALUES.items():
            path = path.replace(name, value)
        key = f"Authorization: Bearer {bearer}\r\n" if bearer else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}{key}Content-Length: 100\r\n\r\n{{".encode())
        async with asyncio.timeout(10):
            line = await reader.readline()
        assert int(line.split()[1]) == status, f"{method} {path}"
        writer.close()


@pytest.mark.parametrize("service", ["asr", "tts"])
async def test_nobody_without_a_key_makes_a_service_read_megabytes_of_json(
    apps: dict[str, LiveService], service: str
) -> None:
    async with httpx.AsyncClient(base_url=apps[service].http, trust_env=False) as http:
        body = b"[" + b"0," * 500_000 + b"0]"
        headers = {"Content-Type": "application/json"}
        answer = await http.post("/v1/tokens", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "message_too_large")


async def test_what_is_open_is_open(apps: dict[str, LiveService]) -> None:
    for live in apps.values():
        async with httpx.AsyncClient(base_url=live.http, trust_env=False) as http:
            for path in OPEN:
                assert (await http.get(path)).status_code == 200, path


@pytest.mark.parametrize(
    ("server", "status"),
    [
        ({"host": "127.0.0.1"}, 200),
        ({"host": "127.0.0.1", "open_metrics": False}, 401),
        ({"host": "0.0.0.0"}, 401),
        ({"host": "0.0.0.0", "open_metrics": True}, 200),
    ],
)
def test_metrics_are_open_where_only_this_machine_can_ask(
    server: dict[str, object], status: int
) -> None:
    config = asr_tones(server=ServerConfig.model_validate({**server, "api_keys": ["k" * 30]}))
    app = services.asr.app.create_app(config, ModelStore())

    async def ask() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return (await http.get("/metrics")).status_code

    assert asyncio.run(ask()) == status
