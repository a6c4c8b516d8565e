"""What clients of the management API can do."""

import re
import time
from pathlib import Path
from typing import Any

import httpx

from examples.voice_agent.store.records import CallContext
from services.shared.audio.pcm import AudioFormat, Encoding
from tests.examples.voice_agent.api.conftest import Api
from tests.examples.voice_agent.store.calls import agent, until, whole_call

AGENT = {"config": {"name": "helpdesk", "prompt": "You help."}, "note": "first"}


async def made(api: Api, path: str, body: object) -> Any:
    answer = await api.http.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_agents_are_made_and_versions_kept(api: Api) -> None:
    first = await made(api, "/v1/agents", AGENT)
    assert (first["version"], first["author"], first["note"]) == (1, "alice", "first")
    changed = {"config": {"name": "helpdesk", "prompt": "You help quickly."}}
    assert (await made(api, "/v1/agents", changed))["version"] == 2
    newest = (await api.http.get("/v1/agents/helpdesk")).json()
    assert newest["config"]["prompt"] == "You help quickly."
    old = (await api.http.get("/v1/agents/helpdesk/versions/1")).json()
    assert old == first
    listed = (await api.http.get("/v1/agents")).json()
    assert [each["version"] for each in listed] == [2]
    versions = (await api.http.get("/v1/agents/helpdesk/versions")).json()
    assert [each["version"] for each in versions] == [2, 1]


async def test_an_agent_may_not_name_just_any_secret(api: Api) -> None:
    llm = {"base_url": "http://elsewhere.example/v1", "api_key_env": "PGPASSWORD"}
    body = {"config": {**AGENT["config"], "llm": llm}}  # type: ignore[dict-item]
    refused = await api.http.post("/v1/agents", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_message")
    assert "VOICE_AGENT_SECRET_PGPASSWORD" in refused.json()["message"]
    llm["api_key_env"] = "VOICE_AGENT_SECRET_LLM"
    await made(api, "/v1/agents", body)


async def test_routes_are_made_changed_asked_and_deleted(api: Api) -> None:
    await made(api, "/v1/agents", AGENT)
    body = {"pattern": "+1 555 01XX", "agent": "helpdesk"}
    refused = await api.http.post("/v1/routes", json=body | {"pattern": "_1?"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_message")
    weekdays = {"time_zone": "Asia/Ho_Chi_Minh", "hours": [{"days": ["mon"], "opens": "08:00"}]}
    route = await made(
        api, "/v1/routes", body | {"pattern": "_155501XX", "schedule": weekdays, "fallback": "200"}
    )
    again = await api.http.post("/v1/routes", json=body | {"pattern": "_155501XX"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    query = {"called": "+15550123", "at": "2026-11-23T01:00:00Z"}  # Monday, 8 o'clock in Vietnam
    decided = (await api.http.get("/v1/routes/decide", params=query)).json()
    assert (decided["agent"], decided["version"], decided["fallback"]) == ("helpdesk", 1, "200")
    query["at"] = "2026-11-23T00:59:00Z"
    decided = (await api.http.get("/v1/routes/decide", params=query)).json()
    assert (decided["agent"], decided["reason"]) == (None, "closed")
    path = f"/v1/routes/{route['id']}"
    changed = await api.http.put(path, json=body | {"pattern": "_155501XX", "priority": 1})
    assert changed.json()["priority"] == 1
    assert (await api.http.get(path)).json() == changed.json()
    assert (await api.http.delete(path)).status_code == 204
    assert (await api.http.get(path)).status_code == 404
    assert (await api.http.get("/v1/routes")).json() == []


async def store_calls(api: Api, count: int) -> None:
    version = await api.store.agents.create(agent())
    for number in range(count):
        call = api.store.journal.journal(CallContext(f"call-{number}", "test", version.id))
        for entry in whole_call():
            call.write(entry)
    await until(lambda: api.store.journal.backlog == (0, 0))


async def test_conversations_come_in_pages_with_transcripts(api: Api) -> None:
    await store_calls(api, 5)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await api.http.get("/v1/conversations", params=params)).json()
        seen += [each["id"] for each in page["conversations"]]
        cursor = page["next"]
    assert (seen, cursor) == ([f"call-{number}" for number in (4, 3, 2, 1, 0)], None)
    none = await api.http.get("/v1/conversations", params={"agent": "sales"})
    assert none.json()["conversations"] == []
    whole = (await api.http.get("/v1/conversations/call-1")).json()
    assert whole["conversation"]["agent_version"] == 1
    assert [turn["text_spoken"] for turn in whole["turns"]][1:3] == [
        "Where is my order?",
        "It is on its way.",
    ]
    assert whole["events"][0]["what"] == "barge_in"
    assert whole["tool_calls"][1]["action"]["target"] == "200"
    assert (await api.http.delete("/v1/conversations/call-1")).status_code == 204
    assert (await api.http.get("/v1/conversations/call-1")).status_code == 404
    wrong = await api.http.get("/v1/conversations", params={"cursor": "nonsense"})
    assert wrong.status_code == 422


async def test_recordings_are_given_whole_and_in_ranges(api: Api) -> None:
    await store_calls(api, 1)
    path = "/v1/conversations/call-0/audio"
    missing = await api.http.get(path)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    pcm = AudioFormat(Encoding.PCM_S16LE, 8000)
    async with api.store.recordings.open("call-0", pcm) as recording:
        recording.caller(b"\1\0" * 8000, time.monotonic() + 1)
    api.store.journal.journal(CallContext("call-0", "test")).note(
        consent="given", recording=recording.name
    )
    await until(lambda: api.store.journal.backlog == (0, 0))
    await until(lambda: not api.store.recordings._writing)
    whole = await api.http.get(path)
    assert (whole.headers["content-type"], whole.content[:4]) == ("audio/wav", b"RIFF")
    part = await api.http.get(path, headers={"Range": "bytes=44-143"})
    assert (part.status_code, part.content) == (206, whole.content[44:144])
    assert part.headers["content-range"] == f"bytes 44-143/{len(whole.content)}"
    await api.http.delete("/v1/conversations/call-0")
    assert recorded_files(api) == []


def recorded_files(api: Api) -> list[Path]:
    return list(api.store.config.recording.folder.rglob("*.wav"))


async def test_health_and_metrics_need_no_key_on_this_machine(api: Api) -> None:
    await store_calls(api, 1)
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as stranger:
        assert (await stranger.get("/health/live")).json() == {"live": True}
        ready = await stranger.get("/health/ready")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        metrics = (await stranger.get("/metrics")).text
    assert "voice_journal_lost_total 0.0" in metrics
    assert "voice_calls 0.0" in metrics
    assert "process_open_fds" in metrics


async def test_the_readme_names_every_metric(api: Api) -> None:
    told = (await api.http.get("/metrics")).text
    families = set(re.findall(r"^# TYPE (voice_\w+) ", told, re.MULTILINE))
    told_names = {each for each in families if not each.endswith("_created")}
    readme = (Path(__file__).parents[4] / "examples/voice_agent/README.md").read_text()
    named = set(re.findall(r"`(voice_\w+)", readme.partition("## Metrics")[2]))
    assert named == told_names | {"voice_asterisk_connected"}


async def test_who_cannot_get_calls_is_not_ready(api: Api) -> None:
    api.vitals.checks.append(lambda: "Asterisk is away")
    ready = await api.http.get("/health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert ready.json()["troubles"] == ["Asterisk is away"]


async def test_a_database_that_is_away_is_told_as_such(api: Api) -> None:
    async with api.store.database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE inbound_routes")
    answer = await api.http.get("/v1/routes")
    assert (answer.status_code, answer.json()["retryable"]) == (503, True)
    assert answer.headers["retry-after"] == "2"
