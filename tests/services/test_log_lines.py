"""What a service writes in production: one JSON object a line, whoever says it."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import services.asr.messages as asr
from services.client.connection import open_socket
from services.shared.protocol.codec import encode
from tests.services.asr.sounds import pcm, tone
from tests.services.process import FAKE_ASR, service_process

ROOT = Path(__file__).parents[2]
README = (ROOT / "deploy" / "prometheus" / "README.md").read_text(encoding="utf-8")


async def lines_of_a_session() -> list[dict[str, Any]]:
    async with service_process("asr", **FAKE_ASR, ASR__LOG__FORMAT="json") as service:
        await service.ready()
        socket = await open_socket(f"{service.ws}/v1/stream/asr", None)
        async with socket:
            await socket.send(encode(asr.Start()))
            await socket.send(pcm(tone(400, 300)))
            await socket.send(encode(asr.Stop()))
            async for _ in socket:
                pass
        await speak_no_http(service.address)
        service.terminate()
        assert await service.ended() == 0
        return [json.loads(line) for line in service.said().splitlines()]


async def speak_no_http(address: str) -> None:
    """What the server itself has something to say about."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_every_line_is_json_with_who_when_and_what() -> None:
    lines = await lines_of_a_session()
    for line in lines:
        assert line["service"] == "asr"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
        assert line["level"] in ("info", "warning")
    said = {line["event"]: line for line in lines}
    assert said["Invalid HTTP request received."]["level"] == "warning", "uvicorn's own words"
    assert {"ready", "connection opened", "connection closed", "draining"} <= set(said)
    opened, closed = said["connection opened"], said["connection closed"]
    assert opened["request_id"] == closed["request_id"]
    [shown] = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert set(json.loads(shown)) == set(closed)
