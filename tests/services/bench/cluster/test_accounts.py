"""Nothing may be lost without its being counted."""

import pytest

from services.bench.cluster.accounts import account, back_after, seen_in
from services.bench.cluster.records import Diary, Outage, Reply, Turn


def turn(**fields: object) -> Turn:
    found = Turn(0.0, flush=True, flushed_s=1.0, final_s=1.02, said=1, decode_ms=2)
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def reply(**fields: object) -> Reply:
    found = Reply(
        2.0, flushed_s=2.0, first_s=2.01, finished_s=3.0, asked=1, received_ms=900, told_ms=900
    )
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def test_a_good_call_has_no_losses() -> None:
    accounts = account([Diary(0, [turn()], [reply()], stopped=1)], exact=True)
    assert accounts.losses == []
    assert (accounts.utterances, accounts.answered, accounts.spoken) == (1, 1, 1)
    assert accounts.flush_to_final_ms.p50 == pytest.approx(20, abs=0.1)
    assert accounts.flush_to_audio_ms.p50 == pytest.approx(10, abs=0.1)
    assert accounts.decode_ms == 2


@pytest.mark.parametrize(
    ("diary", "loss"),
    [
        (Diary(0, [turn(final_s=None)]), "1 utterances without a final"),
        (Diary(0, doubled=1), "1 finals doubled"),
        (Diary(0, [turn(own=False)]), "1 messages crossed"),
        (Diary(0, crossed=["final 'w4'"]), "1 messages crossed"),
        (Diary(0, [turn(whole=False)]), "1 utterances heard in part"),
        (Diary(0, replies=[reply(finished_s=None)]), "1 replies without their audio"),
        (Diary(0, replies=[reply(own=False)]), "1 messages crossed"),
        (Diary(0, replies=[reply(received_ms=880)]), "1 replies of a wrong length"),
        (Diary(0, dropped_ms=32), "32 ms of audio dropped"),
        (Diary(0, errors=["asr internal", "asr internal"]), "2 times asr internal"),
    ],
)
def test_every_loss_is_told(diary: Diary, loss: str) -> None:
    assert account([Diary(1, [turn()], [reply()]), diary], exact=True).losses == [loss]


def test_what_is_said_again_is_counted_and_not_timed() -> None:
    accounts = account([Diary(0, [turn(said=2)], [reply(asked=3, broken_off=1)])], exact=True)
    assert accounts.losses == []
    assert (accounts.said_again, accounts.asked_again, accounts.broken_off) == (1, 2, 1)
    assert accounts.flush_to_final_ms.count == accounts.flush_to_audio_ms.count == 0


def test_real_recognisers_may_mishear() -> None:
    accounts = account([Diary(0, [turn(own=False)])], exact=False)
    assert (accounts.crossed, accounts.unlike) == (0, 1)
    assert accounts.losses == []


def test_outages_are_told_in_words_and_timed() -> None:
    outages = [
        Outage("asr", 10.2, "closed 1006", 10.9, "new"),
        Outage("asr", 10.3, "closed 1006", 11.0, "new"),
        Outage("tts", 12.0, "closed 1012", None),
    ]
    assert seen_in(outages) == {"asr closed 1006 → new": 2, "tts closed 1012 → never": 1}
    assert back_after(outages, {"asr": 10.0}) == [pytest.approx(0.9), pytest.approx(1.0), None]
    assert back_after(outages[:1], {}) == [pytest.approx(0.7)]
