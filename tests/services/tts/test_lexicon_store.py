"""The operator's entries survive a restart; what cannot be stored changes nothing."""

import asyncio
from pathlib import Path

import pytest

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.tts.lexicon import LexiconError
from services.tts.lexicon_store import LexiconStore


def entries(store: LexiconStore) -> dict[str, dict[str, str]]:
    return {language: lexicon.as_told() for language, lexicon in store.lexicons.items()}


async def test_changes_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "new" / "lexicon.yaml"
    store = LexiconStore(file, 10)
    store.load()
    await store.put("en", "Nguyen", "win")
    await store.put("vi", "Facebook", "phây búc")
    await store.put("en", "Nguyen", "/wɪn/")
    await store.put("en", "no", "yes")
    await store.remove("vi", "Facebook")
    again = LexiconStore(file, 10)
    again.load()
    assert entries(again) == entries(store) == {"en": {"Nguyen": "/wɪn/", "no": "yes"}}
    assert [path.name for path in file.parent.iterdir()] == ["lexicon.yaml"]


async def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "lexicon.yaml"
    store = LexiconStore(file, 100)
    await asyncio.gather(*(store.put("en", f"word{number}", "x") for number in range(20)))
    again = LexiconStore(file, 100)
    again.load()
    assert len(again.lexicons["en"]) == 20


async def test_it_is_bounded() -> None:
    store = LexiconStore(None, 2)
    await store.put("en", "a", "x")
    await store.put("vi", "b", "x")
    with pytest.raises(LexiconError, match="full: 2"):
        await store.put("en", "c", "x")
    await store.put("en", "a", "y")  # one that is there may change
    assert entries(store) == {"en": {"a": "y"}, "vi": {"b": "x"}}


async def test_a_word_that_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(ProtocolError, match="no word 'a'") as caught:
        await LexiconStore(None, 2).remove("en", "a")
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_what_cannot_be_stored_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    store = LexiconStore(tmp_path / "file" / "lexicon.yaml", 10)
    with pytest.raises(ProtocolError, match="could not be stored"):
        await store.put("en", "a", "x")
    assert entries(store) == {}


async def test_entries_for_a_region_go_first() -> None:
    store = LexiconStore(None, 10)
    await store.put("en", "a", "x")
    await store.put("en-US", "a", "y")
    await store.put("en-GB", "a", "z")
    await store.put("vi", "a", "q")
    told = [lexicon.as_told() for lexicon in store.for_language("en-US")]
    assert told == [{"a": "y"}, {"a": "x"}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a", "a lexicon is a table"),
        ("en: a", "must be a language"),
        ("en: {no: x}", "put quotes"),
        ("en: {a: 5}", "put quotes"),
        ("en: {a: '…'}", "nothing can be heard"),
        ("en: {a: x, b: y, c: z}", "has 3 entries"),
        ("en: [", "cannot be read"),
        ("!!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_says_why(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "lexicon.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LexiconError, match=reason):
        LexiconStore(file, 2).load()
