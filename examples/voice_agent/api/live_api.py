"""`/v1/calls`: the calls that this process carries right now."""

import asyncio
import contextlib
from collections.abc import Sequence

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic_core import to_json

from examples.voice_agent.api.access import Holder, KeyedRoute, TheStore
from examples.voice_agent.api.errors import ApiError, ErrorKind
from examples.voice_agent.api.keys import SUBPROTOCOL, KeyRing
from examples.voice_agent.api.messages import LiveCallTold
from examples.voice_agent.live import TooManyWatchers, Watcher
from examples.voice_agent.store.store import Store

router = APIRouter(prefix="/v1/calls", tags=["live calls"], route_class=KeyedRoute)

_POLICY_VIOLATION = 1008
_TRY_AGAIN_LATER = 1013


@router.get("", summary="The calls that go on")
async def list_calls(store: TheStore, holder: Holder) -> Sequence[LiveCallTold]:
    return [LiveCallTold.model_validate(call) for call in store.live.calls]


@router.websocket("/live")
async def live(socket: WebSocket) -> None:
    """First `{"type":"calls","calls":[…]}`, then `{"type":"entry","conversation":…,"seq":…,
    "at_ms":…,"kind":…,"entry":{…}}` for whatever happens in any call."""
    keys: KeyRing = socket.app.state.keys
    store: Store = socket.app.state.store
    offered = socket.scope.get("subprotocols") or []
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    try:
        keys.holder(socket)
        watcher = store.live.watch()
    except ApiError as error:
        return await _refuse(socket, error, _POLICY_VIOLATION)
    except TooManyWatchers as error:
        return await _refuse(socket, ApiError(ErrorKind.OVERLOADED, str(error)), _TRY_AGAIN_LATER)
    try:
        await _watch(socket, watcher, socket.app.state.config.send_s)
    finally:
        store.live.leave(watcher)


async def _watch(socket: WebSocket, watcher: Watcher, send_s: float) -> None:
    """Until the client goes, or is too slow."""
    telling = asyncio.create_task(_tell(socket, watcher, send_s))
    listening = asyncio.create_task(_listen(socket))
    slow = asyncio.create_task(watcher.too_slow.wait())
    tasks = {telling, listening, slow}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    if listening.cancelled():
        message = "you read too slowly, and have missed what happened; connect again"
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, TimeoutError):
                raise result
        await _refuse(socket, ApiError(ErrorKind.SLOW_CLIENT, message), _POLICY_VIOLATION, send_s)


async def _tell(socket: WebSocket, watcher: Watcher, send_s: float) -> None:
    """Raises TimeoutError when the client does not read."""
    first = {"type": "calls", "calls": watcher.calls}
    async with asyncio.timeout(send_s):
        await socket.send_text(to_json(first).decode())
    while True:
        event = await watcher.queue.get()
        told = {
            "type": "entry",
            "conversation": event.conversation,
            "seq": event.seq,
            "at_ms": event.at_ms,
            "kind": event.kind,
            "entry": event.entry,
        }
        async with asyncio.timeout(send_s):
            await socket.send_text(to_json(told, fallback=str, inf_nan_mode="null").decode())


async def _listen(socket: WebSocket) -> None:
    """What the client says is of no account, bytes or text; that it goes is."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _refuse(socket: WebSocket, error: ApiError, code: int, limit_s: float = 5.0) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(limit_s):
            await socket.send_text(to_json(error.body()).decode())
            await socket.close(code, error.message[:100])
