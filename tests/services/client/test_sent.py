"""What is kept, sent and forgotten; and that with the server's log nothing is lost or doubled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.event_log import EventLog
from services.asr.messages import TurnPending, server_codec
from services.client.sent import SentLog


def filled(count: int) -> SentLog:
    log = SentLog()
    for number in range(count):
        log.add(bytes([number]) * (number + 1))
    return log


def test_messages_are_taken_in_order_and_kept() -> None:
    log = filled(3)
    assert [log.take() for _ in range(4)] == [b"\0", b"\1\1", b"\2\2\2", None]
    assert (log.size, log.acknowledged) == (6, 0)


def test_what_is_acknowledged_is_forgotten() -> None:
    log = filled(3)
    log.take(), log.take()
    log.acknowledge(1)
    assert (log.size, log.acknowledged) == (5, 1)
    assert log.take() == b"\2\2\2"


def test_a_new_connection_begins_after_what_has_come() -> None:
    log = filled(3)
    log.take(), log.take(), log.take()
    log.rewind(2)
    assert [log.take(), log.take()] == [b"\2\2\2", None]


@pytest.mark.parametrize("received", [0, 3])
def test_an_acknowledgement_must_make_sense(received: int) -> None:
    log = filled(3)
    log.take(), log.take()
    log.acknowledge(1)
    with pytest.raises(ValueError, match="acknowledged"):
        log.acknowledge(received)


class Network:
    """A client and a server whose connection delivers only a part before it is lost."""

    def __init__(self) -> None:
        self.client = SentLog()
        self.server = EventLog(1 << 20)
        self.arrived: list[str | bytes] = []
        self.heard: list[str] = []
        self.last_event = 0

    def carry(self, up: int, down: int) -> None:
        """One connection, by which so many messages pass each way; more are lost with it."""
        self.client.rewind(len(self.arrived))
        missed = self.server.after(self.last_event)
        for passed in range(up + 2):
            message = self.client.take()
            if message is not None and passed < up:
                self.arrived.append(message)
                missed.append(self.server.append(TurnPending(text=str(len(self.arrived)))))
        for text in missed[:down]:
            event = server_codec().decode(text)
            assert isinstance(event, TurnPending)
            assert event.event == self.last_event + 1
            self.last_event = event.event
            self.heard.append(event.text)


@given(
    count=st.integers(1, 30),
    drops=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20),
)
def test_over_any_number_of_connections_all_comes_once(
    count: int, drops: list[tuple[int, int]]
) -> None:
    network = Network()
    for number in range(count):
        network.client.add(bytes([number]))
    for up, down in drops:
        network.carry(up, down)
    network.carry(count, count)
    assert network.arrived == [bytes([number]) for number in range(count)]
    assert network.heard == [str(number) for number in range(1, count + 1)]
