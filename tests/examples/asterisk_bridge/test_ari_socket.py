"""What waits for a call is bounded; that its channel is gone is never dropped."""

from examples.asterisk_bridge.ari_events import Channel, ChannelDtmfReceived, StasisEnd
from examples.asterisk_bridge.ari_socket import Subscription

CHANNEL = Channel(id="1")


async def test_a_flood_does_not_hide_the_end() -> None:
    subscription = Subscription(limit=3)
    for _ in range(10):
        subscription.put(
            ChannelDtmfReceived(type="ChannelDtmfReceived", channel=CHANNEL, digit="1")
        )
    subscription.put(StasisEnd(type="StasisEnd", channel=CHANNEL))
    kept = [await subscription.get() for _ in range(4)]
    assert isinstance(kept[-1], StasisEnd)
    assert subscription.dropped == 7
