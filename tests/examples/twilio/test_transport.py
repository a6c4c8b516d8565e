"""What a call does with a connection that is lost at a bad moment."""

import asyncio

from starlette.types import Message
from starlette.websockets import WebSocket

from examples.twilio.config import AudioConfig
from examples.twilio.transport import After, TwilioTransport
from examples.voice_agent.transport import CallInfo, HungUp


async def test_who_leaves_a_stream_that_was_just_lost_has_left() -> None:
    """Before we have read that it is lost."""
    came = asyncio.Queue[Message]()
    came.put_nowait({"type": "websocket.connect"})

    async def send(message: Message) -> None:
        if message["type"] != "websocket.accept":
            raise OSError("as the server tells it")

    socket = WebSocket({"type": "websocket"}, came.get, send)
    await socket.accept()
    decided: list[After] = []
    info = CallInfo("CA1", "100", "200")
    line = TwilioTransport(
        socket, "MZ1", info, AudioConfig(), str, decided.append, lambda dropped: None
    )
    await line.transfer("+15550122")
    assert decided == [After(dial="+15550122")]
    assert [event async for event in line.events()] == [HungUp("transferred", by_caller=False)]
