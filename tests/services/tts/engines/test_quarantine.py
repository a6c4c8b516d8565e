"""Which requests are refused because the process was lost with them: without any process."""

import pytest

from services.tts.engines.base import Conditioning, SynthesisRequest
from services.tts.engines.quarantine import Quarantine, key_of

TEXT, OTHER = b"text", b"other"


def lose(quarantine: Quarantine, now: float, key: bytes = TEXT) -> None:
    quarantine.begin(1, key)
    quarantine.running(1, True)
    quarantine.lost(now)


def test_the_second_loss_alone_is_one_too_many() -> None:
    quarantine = Quarantine(60)
    lose(quarantine, 0)
    assert not quarantine.refuses(TEXT, 1)
    lose(quarantine, 2)
    assert quarantine.refuses(TEXT, 3)
    assert not quarantine.refuses(OTHER, 3)


def test_losses_of_long_ago_are_forgotten() -> None:
    quarantine = Quarantine(60)
    lose(quarantine, 0)
    lose(quarantine, 30)
    assert quarantine.refuses(TEXT, 59)
    assert not quarantine.refuses(TEXT, 60)


@pytest.mark.parametrize("other", [OTHER, None])
def test_nobody_is_blamed_in_company(other: bytes | None) -> None:
    quarantine = Quarantine(60)
    for now in range(5):
        quarantine.begin(2, other)
        lose(quarantine, now)
    assert not quarantine.refuses(TEXT, 5)


def test_a_process_lost_while_nothing_was_asked_blames_nobody() -> None:
    quarantine = Quarantine(60)
    for now in range(5):
        quarantine.begin(1, TEXT)
        quarantine.running(1, True)
        quarantine.running(1, False)
        quarantine.lost(now)
    assert not quarantine.refuses(TEXT, 5)


def test_what_was_spoken_to_its_end_is_innocent() -> None:
    quarantine = Quarantine(60)
    lose(quarantine, 0)
    quarantine.begin(2, TEXT)
    quarantine.end(2, whole=True)
    lose(quarantine, 1)
    assert not quarantine.refuses(TEXT, 2)


def test_memory_is_bounded() -> None:
    quarantine = Quarantine(60)
    for number in range(1000):
        lose(quarantine, 0, str(number).encode())
    assert len(quarantine) == 256


def test_a_request_is_its_text_and_its_voice() -> None:
    plain = SynthesisRequest("a", "v")
    assert key_of(plain) == key_of(SynthesisRequest("a", "v", seed=3))
    others = [
        SynthesisRequest("b", "v"),
        SynthesisRequest("a", "w"),
        SynthesisRequest("a", "v", conditioning=Conditioning("c", "1", {})),
    ]
    assert key_of(plain) not in map(key_of, others)
