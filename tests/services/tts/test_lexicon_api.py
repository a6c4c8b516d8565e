"""Entries by HTTP, and what is heard of them."""

import asyncio
from pathlib import Path

import httpx
from pydantic import SecretStr

from services.shared.runtime.config import ServerConfig
from services.tts.config import LexiconConfig
from services.tts.engines.fake import GAP_MS, word_ms
from services.tts.messages import AudioFinished, Cancel, Cancelled, Close, End, Start, Text, Words
from tests.services.serving import LiveService
from tests.services.tts.client import session
from tests.services.tts.conftest import StartService


def client(live: LiveService, **options: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=live.http, trust_env=False, **options)  # type: ignore[arg-type]


async def test_entries_are_listed_added_and_removed(
    start_service: StartService, tmp_path: Path
) -> None:
    file = tmp_path / "lexicon.yaml"
    live = await start_service(lexicon=LexiconConfig(file=file))
    async with client(live) as http:
        assert (await http.get("/v1/lexicon")).json() == {"languages": {}, "versions": {}}
        put = await http.put("/v1/lexicon/en/New%20York", json={"say": " big  apple "})
        assert (put.status_code, put.json()) == (200, {"say": "big apple"})
        listed = (await http.get("/v1/lexicon")).json()
        assert listed["languages"] == {"en": {"New York": "big apple"}}
        assert (await http.get("/v1/lexicon/en")).json() == listed
        assert "New York: big apple" in file.read_text(encoding="utf-8")
        assert (await http.delete("/v1/lexicon/en/New%20York")).status_code == 204
        gone = await http.delete("/v1/lexicon/en/New%20York")
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


async def test_an_entry_is_for_all_instances_with_the_file(
    start_service: StartService, tmp_path: Path
) -> None:
    """A POST through the balancer reaches one of them."""
    lexicon = LexiconConfig(file=tmp_path / "lexicon.yaml")
    one, other = [await start_service(lexicon=lexicon) for _ in range(2)]
    async with client(one) as first, client(other) as second:
        await first.put("/v1/lexicon/en/cat", json={"say": "elephant"})
        # The file is looked at every two seconds.
        async with asyncio.timeout(10):
            while "cat" not in (await second.get("/v1/lexicon")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        wanted = {"text": "cat", "format": "pcm"}
        audio = (await second.post("/v1/synthesize", json=wanted)).content
        assert len(audio) == 2 * 16 * (word_ms("elephant") + GAP_MS)
        assert (await second.delete("/v1/lexicon/en/cat")).status_code == 204
        audio = (await second.post("/v1/synthesize", json=wanted)).content
        assert len(audio) == 2 * 16 * (word_ms("cat") + GAP_MS)


async def test_wrong_entries_are_refused_with_a_reason(live: LiveService) -> None:
    async with client(live) as http:
        for path, say, reason in (
            ("en/a", "/wɪn/", "no voice for en takes phonemes"),
            ("en/a", "…", "nothing can be heard"),
            ("en/%24", "x", "must begin with a letter"),
            ("fr/a", "x", "no voice speaks fr"),
            ("e/a", "x", "language"),
        ):
            answer = await http.put(f"/v1/lexicon/{path}", json={"say": say})
            assert answer.status_code == 422
            assert reason in answer.json()["message"]


async def test_keys_are_asked_for(start_service: StartService) -> None:
    live = await start_service(server=ServerConfig(drain_s=0.5, api_keys=(SecretStr("secret"),)))
    async with client(live) as http:
        for method, path in (("GET", ""), ("PUT", "/en/a"), ("DELETE", "/en/a")):
            answer = await http.request(method, f"/v1/lexicon{path}", json={"say": "x"})
            assert answer.status_code == 401
        headers = {"Authorization": "Bearer secret"}
        assert (await http.get("/v1/lexicon", headers=headers)).status_code == 200


async def test_new_contexts_are_read_with_new_entries(start_service: StartService) -> None:
    live = await start_service()
    async with client(live) as http, session(live.ws) as speaker:
        await speaker.send(Start(context_id="old"))
        await http.put("/v1/lexicon/en/cat", json={"say": "elephant"})
        await speaker.send(Text(text="cat"), End())
        old = await speaker.hear(AudioFinished)
        await speaker.send(Start(context_id="new"), Text(text="cat"), End())
        new = await speaker.hear(AudioFinished)
        await speaker.send(
            Start(context_id="own", lexicon={"cat": "ox"}), Text(text="cat"), End(), Close()
        )
        own = await speaker.hear(AudioFinished)
    assert [old.audio_ms, new.audio_ms, own.audio_ms] == [
        word_ms(said) + GAP_MS for said in ("cat", "elephant", "ox")
    ]


async def test_words_are_told_as_they_were_written(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(
            Start(word_timestamps=True, lexicon={"Kim": "kimberly"}),
            Text(text="**Kim** paid $3.50 now."),
            End(),
        )
        await speaker.hear(AudioFinished)
    told = [word for message in speaker.all(Words) for word in message.words]
    assert [word.word for word in told] == ["Kim", "paid", "$3.50", "now."]
    lengths = [word_ms(said) for said in ("kimberly", "paid", "three dollars and fifty cents")]
    assert [word.end_ms - word.start_ms for word in told[:3]] == lengths


async def test_normalisation_can_be_switched_off(live: LiveService) -> None:
    async with session(live.ws) as speaker:
        await speaker.send(Start(normalise=False), Text(text="$3.50"), End())
        finished = await speaker.hear(AudioFinished)
    assert finished.audio_ms == word_ms("$3.50") + GAP_MS
    async with client(live) as http:
        for normalise, said in ((False, "$3.50"), (True, "three dollars and fifty cents")):
            wanted = {"text": "$3.50", "format": "pcm", "normalise": normalise}
            audio = (await http.post("/v1/synthesize", json=wanted)).content
            assert len(audio) == 2 * 16 * (word_ms(said) + GAP_MS)


async def test_phonemes_for_a_voice_that_takes_none_are_an_error(live: LiveService) -> None:
    async with client(live) as http:
        wanted = {"text": "cat", "lexicon": {"cat": "/kæt/"}}
        answer = await http.post("/v1/synthesize", json=wanted)
    assert answer.status_code == 422
    assert "takes no phonemes; give a respelling" in answer.json()["message"]
    async with session(live.ws) as speaker:
        await speaker.send(Start(lexicon={"cat": "/kæt/"}))
        assert await speaker.closed() == 1008


async def test_wrong_entries_of_a_client_name_the_field(live: LiveService) -> None:
    async with client(live) as http:
        wanted = {"text": "cat", "lexicon": {"$": "x"}}
        answer = await http.post("/v1/synthesize", json=wanted)
    assert answer.status_code == 422
    assert "lexicon" in answer.json()["message"]


async def test_what_was_spoken_before_a_cancel_is_the_source(start_service: StartService) -> None:
    live = await start_service(delay_ms=200)
    text = "I *have* $3.50 and  some more."
    async with session(live.ws) as speaker:
        await speaker.send(Start(word_timestamps=True), Text(text=text), End())
        while not any(word.word == "and" for told in speaker.all(Words) for word in told.words):
            await speaker.next()
        await speaker.send(Cancel())
        cancelled = await speaker.hear(Cancelled)
    assert cancelled.spoken_text in ("I *have* $3.50", "I *have* $3.50 and")
