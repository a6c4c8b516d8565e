"""The operator's lexicon: entries of all languages, in memory and in a YAML file.

The file is read at the start and written whole, atomically, with each change by the API: language →
word → how to say it. Contexts keep the lexicon that they began with.
"""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.tts.engines.checks import same_language
from services.tts.lexicon import Entry, Lexicon, LexiconError, checked_entry

_MAX_BYTES = 64 << 20


class LexiconStore:
    """Holds the lexicon of each language.

    Args:
        file: None: in memory only.
        max_entries: in all languages together.
    """

    def __init__(self, file: Path | None, max_entries: int) -> None:
        self._file = file
        self._max_entries = max_entries
        self._lexicons: dict[str, Lexicon] = {}
        self._changing = asyncio.Lock()

    def load(self) -> None:
        """Read the file, if there is one.

        Raises:
            LexiconError: it cannot be read, or an entry is wrong.
        """
        if self._file is None or not self._file.exists():
            return
        try:
            if self._file.stat().st_size > _MAX_BYTES:
                raise LexiconError(f"lexicon {self._file} is larger than {_MAX_BYTES} bytes")
            content = yaml.safe_load(self._file.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            raise LexiconError(f"lexicon {self._file} cannot be read: {error}") from error
        self._lexicons = {
            language: Lexicon(entries) for language, entries in _checked(content).items()
        }
        if self._count() > self._max_entries:
            raise LexiconError(
                f"lexicon {self._file} has {self._count()} entries; "
                f"lexicon.max_entries is {self._max_entries}"
            )

    @property
    def lexicons(self) -> Mapping[str, Lexicon]:
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
        async with self._changing:
            before = self._lexicons.get(language, Lexicon({}))
            after = await asyncio.to_thread(before.with_entry, entry)
            if self._count() + len(after) - len(before) > self._max_entries:
                raise LexiconError(f"the lexicon is full: {self._max_entries} entries")
            await self._change(language, after)
        return entry

    async def remove(self, language: str, word: str) -> None:
        """Remove an entry.

        Raises:
            ProtocolError: there is none, or the change could not be stored.
        """
        async with self._changing:
            lexicon = self._lexicons.get(language, Lexicon({}))
            if word not in lexicon.entries:
                raise ProtocolError(
                    ErrorCode.NOT_FOUND, f"the lexicon for {language} has no word {word!r:.110}"
                )
            await self._change(language, await asyncio.to_thread(lexicon.without, word))

    async def _change(self, language: str, lexicon: Lexicon) -> None:
        changed = {**self._lexicons, language: lexicon}
        changed = {tag: each for tag, each in changed.items() if len(each)}
        if self._file is not None:
            try:
                await asyncio.to_thread(_write, self._file, changed)
            except OSError as error:
                raise ProtocolError(
                    ErrorCode.INTERNAL, f"the lexicon could not be stored: {error.strerror}"
                ) from error
        self._lexicons = changed

    def _count(self) -> int:
        return sum(map(len, self._lexicons.values()))


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
