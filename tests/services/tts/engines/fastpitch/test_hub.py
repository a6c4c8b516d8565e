"""Where models are looked for."""

from pathlib import Path

import pytest

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fastpitch.hub import resolve


def test_a_path_that_exists(tmp_path: Path) -> None:
    assert resolve(str(tmp_path), ()) == tmp_path


@pytest.mark.parametrize("source", ["models/none.nemo", "nvidia/tts", "nvidia/tts@main"])
def test_neither_a_path_nor_a_commit_of_the_hub(source: str) -> None:
    with pytest.raises(EngineUnavailable, match="owner/name@commit"):
        resolve(source, ())


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EngineUnavailable, match="cannot be fetched"):
        resolve("nobody/nothing@" + "0" * 40, ("*.nemo",))
