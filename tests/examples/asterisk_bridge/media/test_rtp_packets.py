"""Packets as bytes and back; the numbers of a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.asterisk_bridge.media.rtp_packets import RtpPacket, RtpStream, parse

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=400),
    marker=st.booleans(),
)


@given(packets)
def test_there_and_back(packet: RtpPacket) -> None:
    assert parse(packet.encode()) == packet


@given(st.binary(max_size=60))
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        packet = parse(data)
    except ValueError:
        return
    assert len(packet.payload) <= len(data) - 12


def test_sources_extension_and_padding_are_skipped() -> None:
    plain = RtpPacket(0, 7, 160, 9, b"").encode()
    first = bytes([plain[0] | 0x10 | 0x20 | 2])
    data = first + plain[1:] + b"sou1sou2" + b"\xbe\xde\x00\x01extn" + b"sound" + b"\0\0\x03"
    assert parse(data).payload == b"sound"


@pytest.mark.parametrize("data", [b"", b"\x80" * 11, b"\x00" * 20, b"\x9f" + b"\0" * 11])
def test_what_is_no_rtp_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse(data)


def test_a_stream_counts_packets_and_samples_around_their_ends() -> None:
    stream = RtpStream(0, ssrc=1, sequence=0xFFFF, timestamp=0xFFFFFFFF - 159)
    first, second = parse(stream.packet(b"a", 160)), parse(stream.packet(b"b", 160))
    assert (first.sequence, first.timestamp, first.marker) == (0xFFFF, 0xFFFFFFFF - 159, True)
    assert (second.sequence, second.timestamp, second.marker) == (0, 0, False)


def test_skipped_time_is_time_but_no_packet() -> None:
    stream = RtpStream(8, ssrc=1, sequence=5, timestamp=0)
    stream.packet(b"a", 160)
    stream.skip(480)
    packet = parse(stream.packet(b"b", 160))
    assert (packet.sequence, packet.timestamp, packet.marker) == (6, 640, True)
