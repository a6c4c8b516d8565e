"""The operator's entries survive a restart; what cannot be stored changes nothing."""

import asyncio
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.only_writer import only_writer
from services.tts.lexicon import LexiconError
from services.tts.lexicon_store import LexiconStore
from tests.services.serving import eventually


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
        ("en: {2026-02-30: x}", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("!!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_says_why(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "lexicon.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LexiconError, match=reason):
        LexiconStore(file, 2).load()


async def test_instances_change_one_file(tmp_path: Path) -> None:
    """What the other one has changed is neither lost nor missed."""
    one, other = (LexiconStore(tmp_path / "lexicon.yaml", 10) for _ in range(2))
    await one.open()
    await other.open()
    try:
        await one.put("en", "a", "x")
        await other.put("en", "b", "y")  # although it has not looked since
        await other.remove("en", "a")
        await one.put("vi", "c", "z")
        assert entries(one) == {"en": {"b": "y"}, "vi": {"c": "z"}}
        await eventually(lambda: entries(other) == entries(one))
    finally:
        await one.close()
        await other.close()


async def test_it_is_full_for_all_instances(tmp_path: Path) -> None:
    one, other = (LexiconStore(tmp_path / "lexicon.yaml", 1) for _ in range(2))
    await one.put("en", "a", "x")
    with pytest.raises(LexiconError, match="full: 1"):
        await other.put("en", "b", "y")


async def test_a_change_of_the_operators_is_followed_and_a_broken_one_never_overwritten(
    tmp_path: Path,
) -> None:
    file = tmp_path / "lexicon.yaml"
    store = LexiconStore(file, 10)
    await store.put("en", "a", "x")
    watching = asyncio.create_task(store.watch(0.01))
    try:
        file.write_text("en: {a: x, b: y}")
        await eventually(lambda: entries(store) == {"en": {"a": "x", "b": "y"}})
        file.write_text("en: [")
        await asyncio.sleep(0.1)
        assert entries(store) == {"en": {"a": "x", "b": "y"}}
        with pytest.raises(ProtocolError, match="could not be stored"):
            await store.put("en", "c", "z")
        assert file.read_text() == "en: ["
        file.unlink()
        await eventually(lambda: entries(store) == {})
    finally:
        watching.cancel()


@pytest.mark.parametrize("broken", ["en: [", "en: {2026-02-30: x}", "en: {a: x, no: y}"])
async def test_a_broken_one_is_read_once_and_mended_by_any_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    reads: list[str] = []

    def safe_load(text: str) -> object:
        reads.append(text)
        return yaml.load(text, Loader=yaml.SafeLoader)

    monkeypatch.setattr("services.tts.lexicon_store.yaml.safe_load", safe_load)
    file = tmp_path / "lexicon.yaml"
    store = LexiconStore(file, 10)
    await store.put("en", "a", "x")
    watching = asyncio.create_task(store.watch(0.01))
    try:
        file.write_text(broken)
        await asyncio.sleep(0.2)
        for _ in range(2):
            with pytest.raises(ProtocolError, match="could not be stored"):
                await store.put("en", "c", "z")
        assert reads == [broken]  # reading a large one takes the others' time
        file.write_text("en: {a: y}")
        await eventually(lambda: entries(store) == {"en": {"a": "y"}})
    finally:
        watching.cancel()


def test_what_could_not_be_opened_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lexicon.yaml"
    file.write_text("en: {a: x}")
    store = LexiconStore(file, 10)
    with monkeypatch.context() as no_descriptor:
        no_descriptor.setattr(Path, "read_text", Mock(side_effect=OSError("too many open files")))
        for _ in range(2):
            with pytest.raises(LexiconError, match="too many open files"):
                store.load()
    store.load()
    assert entries(store) == {"en": {"a": "x"}}


async def test_a_writer_that_hangs_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LexiconStore(tmp_path / "lexicon.yaml", 10)
    monkeypatch.setattr("services.tts.lexicon_store.only_writer", partial(only_writer, wait_s=0.1))
    with only_writer(tmp_path), pytest.raises(ProtocolError, match="another process is changing"):
        await store.put("en", "a", "x")
    assert entries(store) == {}
