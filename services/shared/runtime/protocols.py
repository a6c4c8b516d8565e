"""uvicorn's protocols, for clients that vanish, stand still or send nonsense."""

import asyncio

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from services.shared.protocol.base import CloseCode
from services.shared.runtime.connection import VANISHED

log = structlog.get_logger(__name__)

_NO_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Http(HttpToolsProtocol):
    """Gone as soon as its connection has become a WebSocket."""

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # It holds us as we hold it. The collector finds such pairs late where nearly all is freed
        # without it, and until then they lie between what sessions make.
        self.parser = None  # type: ignore[assignment]


def web_sockets(linger_s: float) -> type[WebSocketsSansIOProtocol]:
    """uvicorn closes a connection when all is read, which may be never; this gives up."""

    class LingeringWebSockets(WebSocketsSansIOProtocol):
        def data_received(self, data: bytes) -> None:
            try:
                super().data_received(data)
            except InvalidState:  # a text that is not UTF-8, and behind it the client's close
                self.transport.close()
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                # E.g. a header of more than 8 KiB, of which uvicorn would say nothing, for ever.
                self.transport.write(_NO_REQUEST)
                self.transport.close()

        def send_receive_event_to_app(self) -> None:
            text = self.curr_msg_data_type == "text" and not self.close_sent
            if text and not _is_utf_8(self.frames):  # uvicorn would log a traceback
                log.info("a text is not UTF-8; the connection is closed")
                self.frames = []
                self.conn.send_close(CloseCode.INVALID_PAYLOAD)
                self.handle_parser_exception()
                return
            super().send_receive_event_to_app()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.conn.close_rcvd is None:  # uvicorn would say 1005: closed, without a code
                self.queue.put_nowait({"type": "websocket.disconnect", "code": VANISHED})
            super().connection_lost(exc)

        def keepalive_timeout(self) -> None:
            if self.read_paused and self.ping_timeout:
                # It is us who do not read: the answer may be waiting behind what we have not read.
                self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
                return
            super().keepalive_timeout()
            self.loop.call_later(linger_s, self.transport.abort)

        def on_task_complete(self, task: asyncio.Task[None]) -> None:
            super().on_task_complete(task)
            self.loop.call_later(linger_s, self.transport.abort)

    return LingeringWebSockets


def _is_utf_8(frames: list[bytes]) -> bool:
    try:
        b"".join(frames).decode()
    except UnicodeDecodeError:
        return False
    return True
