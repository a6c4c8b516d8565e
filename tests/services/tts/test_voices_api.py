"""Cloned voices over HTTP and WebSocket: made, heard, shared among instances, and gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from services.shared.media.encode import FileFormat, StreamEncoder
from services.shared.protocol.base import ErrorCode
from services.shared.runtime.config import ServerConfig
from services.tts.config import (
    CacheConfig,
    EnginesConfig,
    FakeEngineConfig,
    PiperEngineConfig,
    ReferenceConfig,
    VoicesConfig,
)
from services.tts.engines.fake import SAMPLE_RATE, word_hertz
from services.tts.messages import AudioFinished, CacheUse, Close, End, Ready, Start, Text
from tests.services.serving import LiveService
from tests.services.tts.client import heard_tones, session, tone_at
from tests.services.tts.cloning.recordings import STATEMENT, buzz, silence, wav
from tests.services.tts.conftest import StartService

KEYS = ("ada-key", "bob-key")
FORM = {"name": "Ada", "language": "en-US", "consent": STATEMENT}


def cloning(store: Path | str, *, weights: str = "1", **changes: Any) -> dict[str, Any]:
    """Sections of the configuration for a service that clones."""
    reference = changes.pop("reference", {})
    fake = FakeEngineConfig(enabled=True, cloning=True, weights=weights)
    voices = VoicesConfig(
        store=str(store), reference=ReferenceConfig(vad="energy", **reference), **changes
    )
    return {
        "engines": EnginesConfig(piper=PiperEngineConfig(enabled=False), fake=fake),
        "voices": voices,
        "server": ServerConfig(drain_s=0.5, api_keys=tuple(SecretStr(key) for key in KEYS)),
    }


@asynccontextmanager
async def caller(live: LiveService, key: str = KEYS[0]) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=live.http, trust_env=False, headers=headers) as http:
        yield http


async def make(http: httpx.AsyncClient, hertz: float = 120.0, **fields: str) -> dict[str, Any]:
    files = {"file": ("../../evil.wav", wav(buzz(hertz, 5.0)))}
    answer = await http.post("/v1/voices", data={**FORM, **fields}, files=files)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/voices/{made['id']}"
    return made


async def pitch(http: httpx.AsyncClient, voice: str) -> float:
    answer = await http.post(
        "/v1/synthesize", json={"text": "elephants", "voice": voice, "format": "pcm"}
    )
    assert answer.status_code == 200, answer.text
    return tone_at(np.frombuffer(answer.content, "<i2").astype(np.float32), SAMPLE_RATE)


async def test_a_voice_is_made_heard_renamed_and_deleted(
    start_service: StartService, tmp_path: Path
) -> None:
    live = await start_service(**cloning(tmp_path))
    async with caller(live) as http:
        made = await make(http, 160.0)
        assert made["name"] == "Ada"
        assert (made["cloned"], made["engine"], made["language"]) == (True, "fake", "en-US")
        assert made["consent"]["statement"] == STATEMENT
        assert len(made["consent"]["reference_sha256"]) == 64
        assert all(key not in str(made) for key in KEYS)
        path = f"/v1/voices/{made['id']}"
        assert (await http.get(path)).json() == made
        listed = (await http.get("/v1/voices")).json()["voices"]
        assert [each["id"] for each in listed] == ["fake-en", "fake-vi", made["id"]]
        assert await pitch(http, made["id"]) == pytest.approx(160, rel=0.02)
        sample = await http.get(f"{path}/sample?format=pcm")
        heard = tone_at(np.frombuffer(sample.content, "<i2").astype(np.float32), SAMPLE_RATE)
        assert heard == pytest.approx(160, rel=0.02)
        renamed = await http.patch(path, json={"name": "../Gräfin Ada"})
        assert (renamed.status_code, renamed.json()["name"]) == (200, "../Gräfin Ada")
        assert (await http.delete(path)).status_code == 204
        for method in ("GET", "DELETE", "PATCH"):
            gone = await http.request(method, path, json={"name": "x"})
            assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
        answer = await http.post("/v1/synthesize", json={"text": "a", "voice": made["id"]})
        assert answer.json()["code"] == "unknown_voice"
    assert files_of(tmp_path) == [f"{made['id']}.json"]


def files_of(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_others_voices_do_not_exist(start_service: StartService, tmp_path: Path) -> None:
    live = await start_service(**cloning(tmp_path))
    async with caller(live) as ada, caller(live, KEYS[1]) as bob:
        made = await make(ada)
        path = f"/v1/voices/{made['id']}"
        assert len((await bob.get("/v1/voices")).json()["voices"]) == 2
        for method in ("GET", "DELETE", "PATCH"):
            assert (await bob.request(method, path, json={"name": "x"})).status_code == 404
        for answer in (
            await bob.post("/v1/synthesize", json={"text": "a", "voice": made["id"]}),
            await bob.get(f"{path}/sample"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (422, "unknown_voice")
            assert "Ada" not in answer.text
        assert (await ada.get(path)).json() == made
    async with session(live.ws, subprotocols=["voice", KEYS[1]]) as speaker:
        assert made["id"] not in speaker.all(Ready)[0].voices
        await speaker.send(Start(voice=made["id"]))
        await speaker.hear_error(ErrorCode.UNKNOWN_VOICE)


async def test_two_voices_interleaved_are_never_mixed_up(
    start_service: StartService, tmp_path: Path
) -> None:
    live = await start_service(**cloning(tmp_path))
    words = ["some", "other", "words", "here."]

    async def listen(voice: str) -> list[float]:
        async with session(live.ws, subprotocols=["voice", KEYS[0]]) as speaker:
            await speaker.send(
                Start(voice=voice), Text(text=" ".join(words)), End(), Start(), Text(text="cat"),
                End(), Close(),
            )  # fmt: skip
            first = await speaker.hear(AudioFinished)
            await speaker.hear(AudioFinished)
            tones = heard_tones(speaker.audio(first.context_id), words)
            built_in = heard_tones(speaker.audio("context-2"), ["cat"])
            assert built_in == [pytest.approx(word_hertz("cat"), abs=5)]
            return tones

    async with caller(live) as http:
        voices = {hertz: (await make(http, hertz))["id"] for hertz in (110.0, 220.0)}
    heard = await asyncio.gather(*(listen(voice) for voice in list(voices.values()) * 3))
    for hertz, tones in zip(list(voices) * 3, heard, strict=True):
        assert tones == [pytest.approx(hertz, rel=0.03)] * len(words)


async def test_instances_share_a_folder(start_service: StartService, tmp_path: Path) -> None:
    one = await start_service(**cloning(tmp_path, refresh_s=0.3))
    other = await start_service(**cloning(tmp_path, refresh_s=0.3))
    async with caller(one) as first, caller(other) as second:
        made = await make(first, 180.0)
        # At once by its id, and soon in the list.
        assert await pitch(second, made["id"]) == pytest.approx(180, rel=0.02)
        await until_listed(second, made["id"], there=True)
        await first.patch(f"/v1/voices/{made['id']}", json={"name": "Grace"})
        assert (await first.delete(f"/v1/voices/{made['id']}")).status_code == 204
        await until_listed(second, made["id"], there=False)
        answer = await second.post("/v1/synthesize", json={"text": "a", "voice": made["id"]})
        assert answer.json()["code"] == "unknown_voice"


async def until_listed(http: httpx.AsyncClient, voice: str, *, there: bool) -> None:
    async with asyncio.timeout(5):
        while True:
            listed = (await http.get("/v1/voices")).json()["voices"]
            if any(each["id"] == voice for each in listed) is there:
                return
            await asyncio.sleep(0.05)


async def test_a_deleted_voice_ends_the_contexts_that_speak_in_it(
    start_service: StartService, tmp_path: Path
) -> None:
    one = await start_service(**cloning(tmp_path))
    other = await start_service(**cloning(tmp_path))
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(caller(other))
        made = await make(http)
        speaker = await stack.enter_async_context(session(one.ws, subprotocols=["voice", KEYS[0]]))
        await speaker.send(Start(voice=made["id"], cache=CacheUse.BYPASS), Text(text="Before it. "))
        while not speaker.audio():
            await speaker.next()
        assert (await http.delete(f"/v1/voices/{made['id']}")).status_code == 204
        await asyncio.sleep(1.1)  # a voice that was just seen is trusted for a second
        await speaker.send(Text(text="After it."), End())
        error = await speaker.hear_error(ErrorCode.UNKNOWN_VOICE)
        assert error.context_id is not None
        await speaker.send(Start(), Text(text="cat"), End(), Close())
        await speaker.hear(AudioFinished)


async def test_phrases_in_a_deleted_voice_are_deleted(
    start_service: StartService, tmp_path: Path
) -> None:
    phrases = tmp_path / "phrases"
    live = await start_service(**cloning(tmp_path / "voices"), cache=CacheConfig(folder=phrases))
    async with caller(live) as http:
        made = await make(http)
        for voice in (made["id"], "fake-en"):
            for _ in range(3):
                wanted = {"text": "Good morning.", "voice": voice}
                assert (await http.post("/v1/synthesize", json=wanted)).status_code == 200
        await until_files(phrases, 2)
        assert live.metric("voice_tts_cache_hits_total") == 4
        await http.delete(f"/v1/voices/{made['id']}")
        await until_files(phrases, 1)
        assert live.metric("voice_tts_cache_entries", tier="memory") == 1


async def until_files(folder: Path, count: int) -> None:
    async with asyncio.timeout(5):
        while len(files_of(folder)) != count:  # noqa: ASYNC110 - the service is in another thread
            await asyncio.sleep(0.02)


async def test_voices_outlive_a_restart_and_new_weights(
    start_service: StartService, tmp_path: Path
) -> None:
    first = await start_service(**cloning(tmp_path))
    async with caller(first) as http:
        made = await make(http, 140.0)
        await make(http, 200.0)
    first.stop()
    second = await start_service(**cloning(tmp_path, weights="2"))
    async with caller(second) as http:
        # The fake engine refuses what other weights made.
        assert await pitch(http, made["id"]) == pytest.approx(140, rel=0.03)
        assert (await http.get(f"/v1/voices/{made['id']}")).json() == made
    kept = files_of(tmp_path / "voices" / made["id"])
    assert sum(name.endswith(".safetensors") for name in kept) == 2


@pytest.mark.parametrize(
    ("fields", "status", "code", "says"),
    [
        ({"consent": ""}, 422, "invalid_message", "consent"),
        ({"name": "a\nb"}, 422, "invalid_message", "name"),
        ({"language": "../x"}, 422, "invalid_message", "language"),
        ({"owner": "bob"}, 422, "invalid_message", "fields are file, name, language, consent"),
        ({"language": "fr"}, 422, "unsupported_language", "en-US"),
        ({"engine": "piper"}, 501, "cloning_unsupported", "engines that clone: fake"),
    ],
)
async def test_wrong_forms_are_refused_with_a_reason(
    cloner: LiveService, fields: dict[str, str], status: int, code: str, says: str
) -> None:
    async with caller(cloner) as http:
        files = {"file": ("a.wav", wav(buzz(120, 5)))}
        answer = await http.post("/v1/voices", data={**FORM, **fields}, files=files)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert says in answer.json()["message"]


def ten_minutes_in_few_bytes() -> bytes:
    encoder = StreamEncoder(FileFormat.FLAC, 8000)
    data = encoder.push(silence(600, 8000)) + encoder.finish()
    assert len(data) < 1 << 18
    return data


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"no audio at all", 415, "unreadable_audio"),
        (wav(silence(6)), 422, "audio_too_quiet"),
        (wav(buzz(120, 1)), 422, "audio_too_short"),
        (wav(buzz(120, 22)), 413, "audio_too_long"),
        (wav(np.clip(buzz(120, 6, level=5), -1, 1)), 422, "audio_clipped"),
        (wav(buzz(120, 6))[:44] + bytes(2 << 20), 413, "message_too_large"),
        (ten_minutes_in_few_bytes(), 413, "audio_too_long"),
    ],
    ids=["no audio", "silent", "short", "long", "clipped", "large", "bomb"],
)
async def test_unfit_recordings_are_refused_and_leave_nothing(
    cloner: LiveService, data: bytes, status: int, code: str
) -> None:
    async with caller(cloner) as http:
        answer = await http.post("/v1/voices", data=FORM, files={"file": ("a.wav", data)})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert len((await http.get("/v1/voices")).json()["voices"]) == 2
        missing = await http.post("/v1/voices", data=FORM)
        assert missing.json()["code"] == "invalid_message"


@pytest.fixture
async def cloner(start_service: StartService, tmp_path: Path) -> LiveService:
    return await start_service(
        **cloning(tmp_path, reference={"max_file_mb": 1, "max_file_s": 20.0})
    )


async def test_built_in_voices_can_be_looked_at_and_not_changed(cloner: LiveService) -> None:
    async with caller(cloner) as http:
        voice = (await http.get("/v1/voices/fake-en")).json()
        assert (voice["id"], voice["cloned"], "consent" in voice) == ("fake-en", False, False)
        for method in ("PATCH", "DELETE"):
            answer = await http.request(method, "/v1/voices/fake-en", json={"name": "x"})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_message")


async def test_keys_are_asked_for(cloner: LiveService) -> None:
    async with httpx.AsyncClient(base_url=cloner.http, trust_env=False) as http:
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/x"), ("DELETE", "/x")):
            assert (await http.request(method, f"/v1/voices{path}")).status_code == 401


async def test_voices_are_limited_in_number(start_service: StartService, tmp_path: Path) -> None:
    live = await start_service(**cloning(tmp_path, max_cloned=1))
    async with caller(live) as http:
        made = await make(http)
        answer = await http.post(
            "/v1/voices", data=FORM, files={"file": ("a.wav", wav(buzz(120, 5)))}
        )
        assert (answer.status_code, answer.json()["code"]) == (409, "too_many_voices")
        await http.delete(f"/v1/voices/{made['id']}")
        await make(http)


async def test_uploads_at_the_same_time_find_the_last_place_once(
    start_service: StartService, tmp_path: Path
) -> None:
    live = await start_service(**cloning(tmp_path, max_cloned=1, reference={"max_concurrent": 8}))
    async with caller(live) as http:
        file = wav(buzz(120, 5))
        answers = await asyncio.gather(
            *(http.post("/v1/voices", data=FORM, files={"file": ("a.wav", file)}) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_an_upload_that_fails_gives_its_place_back(
    start_service: StartService, tmp_path: Path
) -> None:
    live = await start_service(**cloning(tmp_path, max_cloned=1))
    async with caller(live) as http:
        for _ in range(2):
            answer = await http.post("/v1/voices", data=FORM, files={"file": ("a.wav", b"noise")})
            assert answer.json()["code"] == "unreadable_audio"
        await make(http)


async def test_a_service_without_a_store_says_so(live: LiveService) -> None:
    async with httpx.AsyncClient(base_url=live.http, trust_env=False) as http:
        voice = "cv_" + "0" * 32
        for method, path in (("POST", ""), ("GET", f"/{voice}"), ("DELETE", f"/{voice}")):
            answer = await http.request(method, f"/v1/voices{path}")
            assert (answer.status_code, answer.json()["code"]) == (501, "cloning_unsupported")
            assert "voices.store" in answer.json()["message"]
        unknown = await http.post("/v1/synthesize", json={"text": "a", "voice": voice})
        assert unknown.json()["code"] == "unknown_voice"


async def test_an_engine_that_cannot_clone_says_which_can(
    start_service: StartService, tmp_path: Path
) -> None:
    live = await start_service(voices=VoicesConfig(store=str(tmp_path)))
    async with httpx.AsyncClient(base_url=live.http, trust_env=False) as http:
        files = {"file": ("a.wav", wav(buzz(120, 5)))}
        answer = await http.post("/v1/voices", data=FORM, files=files)
    assert (answer.status_code, answer.json()["code"]) == (501, "cloning_unsupported")
    assert "chatterbox" in answer.json()["message"]


async def test_a_bucket_is_a_store_too(start_service: StartService) -> None:
    live = await start_service(**cloning("memory://"))
    async with caller(live) as http:
        made = await make(http, 130.0)
        assert await pitch(http, made["id"]) == pytest.approx(130, rel=0.03)
        assert (await http.delete(f"/v1/voices/{made['id']}")).status_code == 204


async def test_an_engine_in_a_process_of_its_own_clones_too(
    start_service: StartService, tmp_path: Path
) -> None:
    sections = cloning(tmp_path)
    fake = FakeEngineConfig(enabled=True, cloning=True, isolated=True)
    sections["engines"] = EnginesConfig(piper=PiperEngineConfig(enabled=False), fake=fake)
    live = await start_service(**sections)
    async with caller(live) as http:
        made = await make(http, 170.0)
        assert await pitch(http, made["id"]) == pytest.approx(170, rel=0.03)
