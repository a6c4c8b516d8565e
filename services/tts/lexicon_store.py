"""The operator's lexicon: entries of all languages, in memory and in a YAML file.

The file, language → word → how to say it, is the truth, also for the other instances that it
belongs to: it is looked at every few seconds, and each change by the API is made of what it holds
at that moment, and written whole, atomically. Contexts keep the lexicon that they began with.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
import yaml

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.file_stamps import Stamp, stamp_of
from services.shared.runtime.only_writer import only_writer
from services.tts.engines.checks import same_language
from services.tts.lexicon import Entry, Lexicon, LexiconError, checked_entry

log = structlog.get_logger(__name__)

_MAX_BYTES = 64 << 20
RELOAD_S = 2.0
"""How often it is looked whether another instance, or the operator, has changed the file."""

Lexicons = Mapping[str, Lexicon]
"""By language tag."""


class LexiconStore:
    """Holds the lexicon of each language.

    Args:
        file: None: in memory only.
        max_entries: in all languages together.
    """

    def __init__(self, file: Path | None, max_entries: int) -> None:
        self._file = file
        self._max_entries = max_entries
        self._lexicons: Lexicons = {}
        self._seen: Stamp = ()
        self._broken: tuple[Stamp, str] = (), ""
        """The file that is of no use, and why: to read a large one takes all others' time."""
        self._changing = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the file, if there is one, and follow its changes. Raises LexiconError."""
        await asyncio.to_thread(self.load)
        self._following = asyncio.create_task(self.watch())

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    def load(self) -> None:
        """Read the file, if there is one. Blocks.

        Raises:
            LexiconError: it cannot be read, or an entry is wrong.
        """
        self._lexicons = self._current()

    @property
    def lexicons(self) -> Lexicons:
        """Language tag → its lexicon."""
        return self._lexicons

    def for_language(self, language: str) -> tuple[Lexicon, ...]:
        """What holds for a voice's language; entries for its region go first."""
        fitting = (tag for tag in self._lexicons if same_language(tag, language))
        return tuple(self._lexicons[tag] for tag in sorted(fitting, key=len, reverse=True))

    async def put(self, language: str, word: str, say: str) -> Entry:
        """Add an entry or replace it.

        Raises:
            LexiconError: the entry is not possible, or there are too many.
            ProtocolError: it could not be stored; nothing was changed.
        """
        entry = checked_entry(word, say)

        def with_entry(lexicons: Lexicons) -> Lexicons:
            after = lexicons.get(language, Lexicon({})).with_entry(entry)
            changed = {**lexicons, language: after}
            if _count(changed) > max(self._max_entries, _count(lexicons)):
                raise LexiconError(f"the lexicon is full: {self._max_entries} entries")
            return changed

        await self._change(with_entry)
        return entry

    async def remove(self, language: str, word: str) -> None:
        """Remove an entry.

        Raises:
            ProtocolError: there is none, or the change could not be stored.
        """

        def without(lexicons: Lexicons) -> Lexicons:
            lexicon = lexicons.get(language, Lexicon({}))
            if word not in lexicon.entries:
                raise ProtocolError(
                    ErrorCode.NOT_FOUND, f"the lexicon for {language} has no word {word!r:.110}"
                )
            return {**lexicons, language: lexicon.without(word)}

        await self._change(without)

    async def watch(self, every_s: float = RELOAD_S) -> None:
        """Follow changes of the file for ever; a broken one changes nothing."""
        told = ""
        while self._file is not None:
            await asyncio.sleep(every_s)
            async with self._changing:
                before = self._lexicons
                try:
                    await asyncio.to_thread(self.load)
                except LexiconError as error:
                    if str(error) != told:
                        told = str(error)
                        log.error("the lexicon of before stays", reason=told)
                    continue
            told = ""
            if self._lexicons is not before:
                log.info("the lexicon was read again", entries=_count(self._lexicons))

    async def _change(self, change: Callable[[Lexicons], Lexicons]) -> None:
        async with self._changing:
            await asyncio.to_thread(self._rewrite, change)

    def _rewrite(self, change: Callable[[Lexicons], Lexicons]) -> None:
        if self._file is None:
            self._lexicons = _filled(change(self._lexicons))
            return
        try:
            with only_writer(self._file.parent):
                changed = _filled(change(self._as_stored()))
                _write(self._file, changed)
                self._seen = stamp_of([self._file])
        except OSError as error:
            raise ProtocolError(
                ErrorCode.INTERNAL, f"the lexicon could not be stored: {error.strerror}"
            ) from error
        self._lexicons = changed

    def _as_stored(self) -> Lexicons:
        """What a change is made to. Raises ProtocolError."""
        try:
            return self._current()
        except LexiconError as error:
            raise ProtocolError(
                ErrorCode.INTERNAL, f"the lexicon could not be stored: {error}"
            ) from error

    def _current(self) -> Lexicons:
        """From the file if it has changed since it was read. Raises LexiconError."""
        if self._file is None:
            return self._lexicons
        stamp = stamp_of([self._file])
        if stamp == self._seen:
            return self._lexicons
        broken, why = self._broken
        if stamp == broken:
            raise LexiconError(why)
        try:
            lexicons = _read(self._file, self._max_entries)
        except LexiconError as error:
            if not isinstance(error.__cause__, OSError):  # what mends that need not change the file
                self._broken = stamp, str(error)
            raise
        self._seen = stamp
        return lexicons


def _count(lexicons: Lexicons) -> int:
    return sum(map(len, lexicons.values()))


def _filled(lexicons: Lexicons) -> Lexicons:
    return {tag: each for tag, each in lexicons.items() if len(each)}


def _read(file: Path, max_entries: int) -> Lexicons:
    content = _checked(_content(file))
    lexicons = {language: Lexicon(entries) for language, entries in content.items()}
    if (count := _count(lexicons)) > max_entries:
        raise LexiconError(
            f"lexicon {file} has {count} entries; lexicon.max_entries is {max_entries}"
        )
    return lexicons


def _content(file: Path) -> object:
    try:
        if file.stat().st_size <= _MAX_BYTES:
            return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # e.g. 2026-02-30
        raise LexiconError(f"lexicon {file} cannot be read: {error}") from error
    raise LexiconError(f"lexicon {file} is larger than {_MAX_BYTES} bytes")


def _checked(content: object) -> dict[str, dict[str, str]]:
    if not isinstance(content, dict):
        raise LexiconError("a lexicon is a table: language → word → how to say it")
    for language, entries in content.items():
        if not isinstance(language, str) or not isinstance(entries, dict):
            raise LexiconError(f"lexicon: {language!r} must be a language with a table of words")
        for word, say in entries.items():
            # YAML reads "no", "on" and digits as something else than text.
            if not isinstance(word, str) or not isinstance(say, str):
                raise LexiconError(f"lexicon, {language}: put quotes around {word!r}: {say!r}")
    return content


def _write(file: Path, lexicons: Mapping[str, Lexicon]) -> None:
    """So that a reader, or a crash, sees the old file or the new one, nothing between."""
    content = {tag: lexicon.as_told() for tag, lexicon in lexicons.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            yaml.safe_dump(content, out, allow_unicode=True, sort_keys=True)
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
