"""Which kind of media this Asterisk can do, and one of it for each call."""

from collections.abc import Callable

from examples.asterisk_bridge.ari import Ari, Info
from examples.asterisk_bridge.config import BridgeConfig, MediaConfig
from examples.asterisk_bridge.media.base import Deliver, Media
from examples.asterisk_bridge.media.rtp import RtpMedia
from examples.asterisk_bridge.media.websocket import WebSocketMedia

MediaFactory = Callable[[Deliver], Media]

_WEBSOCKET_SINCE = {20: (20, 18), 21: (21, 13), 22: (22, 8), 23: (23, 2)}
"""The first release of each branch with JSON commands and marks."""


def can_websocket(info: Info) -> bool:
    """Whether its chan_websocket, if loaded, knows all that we need."""
    if not info.release:
        return False
    branch = info.release[0]
    return branch > max(_WEBSOCKET_SINCE) or (
        branch in _WEBSOCKET_SINCE and info.release >= _WEBSOCKET_SINCE[branch]
    )


async def choose_media(config: BridgeConfig, ari: Ari) -> MediaFactory:
    """Asks Asterisk when the configuration leaves it open.

    Raises:
        AriError: Asterisk cannot be asked.
    """
    media = config.media
    if media.kind == "auto":
        usable = can_websocket(await ari.info()) and await ari.has_module("chan_websocket.so")
        media = _of_kind(media, "websocket" if usable else "rtp")
    if media.kind == "websocket":
        return lambda deliver: WebSocketMedia(media, str(config.ari.url), deliver)
    return lambda deliver: RtpMedia(media, deliver)


def _of_kind(media: MediaConfig, kind: str) -> MediaConfig:
    format_ = "ulaw" if kind == "rtp" and media.format == "slin" else media.format
    return MediaConfig.model_validate(media.model_dump() | {"kind": kind, "format": format_})
