"""What `voice agent doctor` asks Asterisk: is it there, new enough, and complete?"""

from collections.abc import Sequence

from examples.asterisk_bridge.ari import Ari, AriError
from examples.asterisk_bridge.config import BridgeConfig, load_config
from examples.asterisk_bridge.media.choice import can_websocket
from examples.voice_agent.findings import Finding, State
from examples.voice_agent.yaml_settings import ConfigError

_NEEDED = ("res_ari_channels.so", "res_ari_bridges.so", "app_stasis.so", "bridge_softmix.so")
_WEBSOCKET = "chan_websocket.so"
_RTP = "chan_rtp.so"


async def checks() -> Sequence[Finding]:
    """Of the bridge's own configuration and of its Asterisk. Places no call."""
    try:
        config = load_config()
    except ConfigError as error:
        return [Finding("bridge configuration", State.FAIL, str(error), "mend what it names")]
    async with Ari(config.ari) as ari:
        try:
            return await _asterisk(config, ari)
        except AriError as error:
            remedy = "start Asterisk; http.conf and ari.conf in examples/asterisk_bridge/asterisk"
            return [Finding("Asterisk", State.FAIL, str(error), remedy)]


async def _asterisk(config: BridgeConfig, ari: Ari) -> list[Finding]:
    info = await ari.info()
    missing = [name for name in _NEEDED if not await ari.has_module(name)]
    remedy = f"load them in modules.conf: {', '.join(missing)}" if missing else None
    told = f"lacks {', '.join(missing)}" if missing else "all there"
    return [
        Finding("Asterisk", State.OK, f"{info.version} at {config.ari.url}"),
        Finding("Asterisk's modules", State.FAIL if missing else State.OK, told, remedy),
        await _media(config, ari, new_enough=can_websocket(info)),
    ]


async def _media(config: BridgeConfig, ari: Ari, *, new_enough: bool) -> Finding:
    websocket = new_enough and await ari.has_module(_WEBSOCKET)
    rtp = await ari.has_module(_RTP)
    kind = config.media.kind
    if kind != "rtp" and websocket:
        return Finding("media", State.OK, f"{_WEBSOCKET} (configured: {kind})")
    why = "is not loaded" if new_enough else "is too old: 20.18, 22.8 or 23.2 has all of it"
    if kind == "websocket":
        told = f"{_WEBSOCKET} {why}"
        return Finding("media", State.FAIL, told, "load it, upgrade, or set media.kind: auto")
    if not rtp:
        return Finding("media", State.FAIL, f"{_RTP} is not loaded", "load it in modules.conf")
    if kind == "auto":
        remedy = "load it: its flush and marks are instant and exact"
        return Finding("media", State.WARN, f"{_RTP}; {_WEBSOCKET} {why}", remedy)
    return Finding("media", State.OK, _RTP)
