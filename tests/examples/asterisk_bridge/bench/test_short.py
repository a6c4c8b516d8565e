"""What short calls may leave."""

from examples.asterisk_bridge.bench.short import what_is_left

BEFORE = {"channels": 0.0, "bridge.files": 20.0, "asr.files": 17.0, "bridge.mb": 140.0}


def test_pools_and_kept_connections_are_no_leak() -> None:
    after = {"channels": 0.0, "bridge.files": 30.0, "asr.files": 20.0, "bridge.mb": 400.0}
    assert what_is_left(BEFORE, after) == []


def test_what_grows_with_the_calls_is_named() -> None:
    after = {"channels": 1.0, "bridge.files": 57.0, "asr.files": 67.0, "bridge.mb": 140.0}
    assert [sentence.split(":")[0] for sentence in what_is_left(BEFORE, after)] == [
        "channels",
        "bridge.files",
        "asr.files",
    ]
