"""What Asterisk tells over ARI, typed: what the bridge acts on; anything else passes as `Event`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Lenient(BaseModel):
    """Asterisk adds fields with every version: what is not known is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class CallerId(_Lenient):
    name: str = ""
    number: str = ""


class DialplanPosition(_Lenient):
    context: str = ""
    exten: str = ""
    priority: int = 0
    app_name: str = ""
    """What the dial plan is running, `Stasis` while the channel is with an application."""
    app_data: str = ""


class Channel(_Lenient):
    """One leg: the caller's, or the media channel that carries our audio."""

    id: str
    name: str = ""
    state: str = ""
    """Down, Ring, Ringing, Up, …"""
    caller: CallerId = CallerId()
    dialplan: DialplanPosition = DialplanPosition()
    channelvars: dict[str, Any] = Field(default_factory=dict)
    """Those that ari.conf lists in `channelvars`."""

    def is_with(self, app: str) -> bool:
        """Whether it came from the dial plan into this Stasis application and is still there."""
        position = self.dialplan
        return position.app_name == "Stasis" and position.app_data.split(",")[0] == app


class Bridge(_Lenient):
    id: str
    channels: tuple[str, ...] = ()
    """Ids of what is in it."""


class Event(_Lenient):
    """Any event; `type` is Asterisk's word for it."""

    type: str
    application: str = ""

    @property
    def channel_id(self) -> str | None:
        """The channel that it is about."""
        return None


class ChannelEvent(Event):
    channel: Channel

    @property
    def channel_id(self) -> str | None:
        return self.channel.id


class StasisStart(ChannelEvent):
    """A channel came to us, from the dial plan or because we made it."""

    args: tuple[str, ...] = ()


class StasisEnd(ChannelEvent):
    """A channel left us: hung up, or on in the dial plan."""


class ChannelDtmfReceived(ChannelEvent):
    digit: str
    duration_ms: int = 0


class ChannelHangupRequest(ChannelEvent):
    """Somebody else than us wants the channel to end."""

    cause: int = 0


class ChannelDestroyed(ChannelEvent):
    cause: int = 0
    cause_txt: str = ""


class ApplicationReplaced(Event):
    """Another program took our application's name over: it gets the calls now."""


_TYPES: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        StasisStart,
        StasisEnd,
        ChannelDtmfReceived,
        ChannelHangupRequest,
        ChannelDestroyed,
        ApplicationReplaced,
    )
}

TERMINAL = (StasisEnd, ChannelDestroyed)
"""After one of these a channel is no longer ours."""


def parse_event(data: str | bytes) -> Event:
    """One message of the events socket.

    An event that we know by its name but cannot read comes as a plain `Event`.

    Raises:
        ValueError: not an event at all.
    """
    event = Event.model_validate_json(data)
    known = _TYPES.get(event.type)
    if known is None:
        return event
    try:
        return known.model_validate_json(data)
    except ValidationError:
        return event
