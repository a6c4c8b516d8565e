"""Order restored, holes filled, nothing held that is in order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from examples.asterisk_bridge.media.jitter import JitterBuffer
from examples.asterisk_bridge.media.rtp_packets import RtpPacket

GAP_S = 0.06
SILENCE = b"~"


def packet(number: int, ssrc: int = 1) -> RtpPacket:
    return RtpPacket(0, number & 0xFFFF, number * 160 & 0xFFFFFFFF, ssrc, str(number).encode())


def joined(parts: list[bytes]) -> str:
    return " ".join(part.decode() for part in parts)


def test_what_is_in_order_leaves_at_once() -> None:
    buffer = JitterBuffer(GAP_S, SILENCE)
    assert joined(buffer.push(packet(5), 0.0)) == "5"
    assert joined(buffer.push(packet(6), 0.02)) == "6"
    assert not buffer.is_waiting


def test_a_late_packet_is_put_into_its_place() -> None:
    buffer = JitterBuffer(GAP_S, SILENCE)
    buffer.push(packet(1), 0.0)
    assert buffer.push(packet(3), 0.02) == []
    assert joined(buffer.push(packet(2), 0.03)) == "2 3"
    assert buffer.lost == 0


def test_a_lost_packet_becomes_silence_after_a_while() -> None:
    buffer = JitterBuffer(GAP_S, SILENCE)
    buffer.push(packet(1), 0.0)
    buffer.push(packet(3), 0.04)
    buffer.push(packet(4), 0.06)
    assert buffer.due(0.09) == []
    assert joined(buffer.due(0.10)) == "~ 3 4"
    assert buffer.push(packet(2), 0.11) == []
    assert (buffer.lost, buffer.late) == (1, 1)


def test_doubles_are_dropped() -> None:
    buffer = JitterBuffer(GAP_S, SILENCE)
    buffer.push(packet(1), 0.0)
    assert buffer.push(packet(1), 0.0) == []
    assert buffer.late == 1


def test_another_source_begins_anew() -> None:
    buffer = JitterBuffer(GAP_S, SILENCE)
    buffer.push(packet(1), 0.0)
    buffer.push(packet(3), 0.0)
    assert joined(buffer.push(packet(40_000, ssrc=2), 0.1)) == "3 40000"
    assert joined(buffer.push(packet(40_001, ssrc=2), 0.1)) == "40001"


def test_a_jump_begins_anew() -> None:
    buffer = JitterBuffer(GAP_S, SILENCE)
    buffer.push(packet(1), 0.0)
    assert joined(buffer.push(packet(900), 0.1)) == "900"
    assert buffer.restarts == 1


@given(
    start=st.integers(0, 0xFFFF),
    count=st.integers(1, 120),
    seed=st.integers(),
    lost=st.sets(st.integers(0, 119), max_size=20),
)
def test_loss_and_disorder_across_the_end_of_the_numbers(
    start: int, count: int, seed: int, lost: set[int]
) -> None:
    """Each packet may be late by two others: all that came leave in order, holes as silence."""
    chance = random.Random(seed)
    kept = [n for n in range(count) if n == 0 or n not in lost]
    arrival = [kept[0], *sorted(kept[1:], key=lambda n: n + chance.uniform(0, 1.9))]
    buffer = JitterBuffer(GAP_S, SILENCE)
    out: list[bytes] = []
    for tick, number in enumerate(arrival):
        now = tick * 0.02
        out += buffer.due(now)
        out += buffer.push(RtpPacket(0, (start + number) & 0xFFFF, 0, 1, str(number).encode()), now)
    out += buffer.due(1000.0)
    expected = [str(n).encode() if n in kept else SILENCE for n in range(max(kept) + 1)]
    assert out == expected
    assert not buffer.is_waiting
