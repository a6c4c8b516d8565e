"""What is said again to the next session: the open turn, and no more."""

from examples.voice_agent.unanswered import Unanswered

CHUNK_MS = 20


def audio(number: int) -> bytes:
    """20 ms at 8 bytes a millisecond that tell their place."""
    return bytes([number % 256]) * (8 * CHUNK_MS)


def listened(seconds: float) -> Unanswered:
    kept = Unanswered(8.0)
    for number in range(round(seconds * 1000 / CHUNK_MS)):
        kept.sent(audio(number))
    return kept


def places(kept: Unanswered) -> list[int]:
    return [chunk[0] for chunk in kept.take()]


def test_in_silence_only_the_last_second_is_kept() -> None:
    assert places(listened(4.0)) == list(range(150, 200))


def test_an_open_turn_is_kept_from_before_its_beginning() -> None:
    kept = listened(4.0)
    kept.speech_started(3500)
    for number in range(200, 255):
        kept.sent(audio(number))
    assert places(kept) == list(range(150, 255))


def test_what_a_final_covers_is_forgotten_and_what_was_said_since_is_not() -> None:
    kept = listened(2.0)
    kept.speech_started(1600)
    for number in range(100, 150):
        kept.sent(audio(number))
    kept.turn_ended(2400)
    assert places(kept) == list(range(120, 150))


def test_a_late_final_does_not_end_the_turn_that_has_begun_since() -> None:
    kept = listened(2.0)
    kept.speech_started(200)
    kept.speech_started(1800)
    kept.turn_ended(1000)
    for number in range(100, 250):
        kept.sent(audio(number))
    assert places(kept) == list(range(50, 250)), "what the final of the first one does not cover"


def test_a_turn_without_an_end_is_bounded() -> None:
    kept = listened(1.0)
    kept.speech_started(0)
    for number in range(5000):
        kept.sent(audio(number))
    assert len(kept.take()) <= 20_000 / CHUNK_MS + 1


def test_what_was_taken_is_counted_anew_by_the_next_session() -> None:
    kept = listened(3.0)
    again = kept.take()
    assert kept.take() == ()
    for chunk in again:
        kept.sent(chunk)
    kept.speech_started(400)
    kept.turn_ended(900)
    assert places(kept) == list(range(145, 150))
