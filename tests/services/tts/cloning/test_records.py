"""What is written down about a cloned voice."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.cloning.records import ClonedVoice, is_cloned_id, new_id
from tests.services.tts.cloning.recordings import record


def test_ids_are_new_and_known_as_ours() -> None:
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(is_cloned_id(each) for each in made)


@given(st.one_of(st.text(), st.text("cv_0123456789abcdefABCDEF/.\n", max_size=40)))
def test_what_passes_for_an_id_is_safe_in_a_path(text: str) -> None:
    if is_cloned_id(text):
        assert len(text) == 35
        assert set(text[3:]) <= set("0123456789abcdef")


@pytest.mark.parametrize("change", [str.upper, lambda id: id + "\n", lambda id: "../" + id])
def test_what_only_looks_like_an_id_is_none(change: Callable[[str], str]) -> None:
    assert not is_cloned_id(change(new_id()))


def test_fields_of_a_newer_version_are_passed_over() -> None:
    voice = record()
    newer = json.loads(voice.model_dump_json()) | {"mood": "calm"}
    assert ClonedVoice.model_validate(newer) == voice
