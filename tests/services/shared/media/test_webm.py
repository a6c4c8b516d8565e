from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.shared.media.decode import UnreadableAudio
from services.shared.media.webm import WebmPackets

MakeFile = Callable[..., bytes]

EBML = b"\x1a\x45\xdf\xa3\x80"
SEGMENT = b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
TRACKS = b"\x16\x54\xae\x6b\xff"
CLUSTER = b"\x1f\x43\xb6\x75\xff"


def element(identifier: bytes, body: bytes) -> bytes:
    return identifier + (0x4000 | len(body)).to_bytes(2, "big") + body


def track(number: int, codec: bytes, private: bytes = b"") -> bytes:
    entry = element(b"\xd7", bytes([number])) + element(b"\x86", codec)
    return element(b"\xae", entry + (element(b"\x63\xa2", private) if private else b""))


def block(number: int, payload: bytes, flags: int = 0x80) -> bytes:
    return element(b"\xa3", bytes([0x80 | number, 0, 0, flags]) + payload)


HEAD = b"OpusHead\x01\x01" + (312).to_bytes(2, "little") + bytes(7)
START = EBML + SEGMENT + TRACKS + track(1, b"V_VP8") + track(2, b"A_OPUS", HEAD) + CLUSTER


def test_blocks_of_the_opus_track() -> None:
    packets = WebmPackets()
    group = element(b"\xa0", element(b"\xa1", b"\x82\x00\x00\x00three"))
    data = START + block(2, b"one") + block(1, b"video") + element(b"\xec", bytes(50))
    assert packets.push(data + block(2, b"two") + CLUSTER + group) == [b"one", b"two", b"three"]
    assert packets.pre_skip == 312


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 6000), max_size=20).map(sorted), live=st.booleans())
def test_chunking_changes_nothing(make_file: MakeFile, cuts: list[int], live: bool) -> None:
    data = make_file(
        "webm", "libopus", rate=48_000, seconds=0.3, options={"live": "1"} if live else {}
    )
    edges = [0, *(cut for cut in cuts if cut < len(data)), len(data)]
    cut_up = WebmPackets()
    actual = [
        packet
        for start, end in zip(edges, edges[1:], strict=False)
        for packet in cut_up.push(data[start:end])
    ]
    assert actual == WebmPackets().push(data)
    assert 15 <= len(actual) <= 17


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"RIFF", "header"),
        (b"\x00", "header"),
        (b"OggS\x00\x02", "header"),
        (EBML + b"\x00", "damaged"),
        (EBML + b"\xec\xff", "damaged"),  # a Void that never ends
        (EBML + b"\xec\x10\xff\xff\xff", "damaged"),  # … or ends after 256 MB
        (START + b"\xa3\x10\xff\xff\xff", "damaged"),
        (START + element(b"\xa3", b"\x82\x00"), "cut short"),
        (START + element(b"\xa3", b"\x00" * 20), "cut short"),
        (START + element(b"\xa3", b""), "cut short"),
        (START + block(2, b"x", flags=0x86), "laced"),
        (EBML + SEGMENT + CLUSTER + block(1, b"x"), "codecs: none"),
    ],
)
def test_what_is_no_webm_is_said_so(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableAudio, match=reason):
        WebmPackets().push(data)


@given(data=st.binary(max_size=300), prefix=st.sampled_from([b"", EBML, START]))
def test_any_bytes_give_packets_or_an_error(data: bytes, prefix: bytes) -> None:
    packets = WebmPackets()
    try:
        for byte in prefix + data:
            assert all(isinstance(packet, bytes) for packet in packets.push(bytes([byte])))
    except UnreadableAudio as error:
        assert "WebM" in str(error)


def test_what_waits_is_bounded() -> None:
    """Bytes that never complete an element are refused or skipped, not kept."""
    packets = WebmPackets()
    packets.push(START)
    packets.push(b"\xec" + (0x10000000 | 1 << 20).to_bytes(4, "big"))
    assert packets.push(bytes(1 << 20)) == []
    assert packets.push(block(2, b"after")) == [b"after"]


def test_tracks_without_end_fill_no_memory() -> None:
    packets = WebmPackets()
    packets.push(EBML + SEGMENT + TRACKS)
    with pytest.raises(UnreadableAudio, match="64 tracks"):
        for _ in range(1000):
            packets.push(b"\xae\x80" * 100)
