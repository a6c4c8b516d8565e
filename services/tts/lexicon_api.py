"""`/v1/lexicon`: list, add and remove the operator's entries. New contexts are read with them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from services.shared.protocol.base import ErrorCode, Message, ProtocolError
from services.shared.runtime.grants import KeyedRoute, requires
from services.shared.runtime.keys import Scope
from services.tts.engines.checks import same_language
from services.tts.lexicon import MAX_SAY, MAX_WORD, Entry, Lexicon, LexiconError, checked_entry
from services.tts.service import TtsService

Language = Annotated[str, Path(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
Word = Annotated[str, Path(min_length=1, max_length=MAX_WORD)]


class LexiconEntry(Message):
    """How a word is said."""

    say: Annotated[str, Field(min_length=1, max_length=MAX_SAY)]
    """A respelling, or IPA between slashes."""


class LexiconList(Message):
    """All entries."""

    languages: dict[str, dict[str, str]]
    """Language tag → word → how it is said."""
    versions: dict[str, str]
    """Language tag → a name that changes with its entries."""


def lexicon_routes(service: TtsService) -> APIRouter:
    router = APIRouter(prefix="/v1/lexicon", route_class=KeyedRoute)
    reading = [Depends(requires(Scope.TTS, Scope.LEXICON))]
    writing = [Depends(requires(Scope.LEXICON))]
    store = service.lexicon

    @router.get("", response_model=LexiconList, dependencies=reading)
    async def all_entries() -> LexiconList:
        return _listed(dict(store.lexicons))

    @router.get("/{language}", response_model=LexiconList, dependencies=reading)
    async def entries_of(language: Language) -> LexiconList:
        return _listed({language: store.lexicons.get(language, Lexicon({}))})

    @router.put("/{language}/{word}", response_model=LexiconEntry, dependencies=writing)
    async def put(language: Language, word: Word, wanted: LexiconEntry) -> LexiconEntry:
        try:
            _check_use(service, language, checked_entry(word, wanted.say))
            entry = await store.put(language, word, wanted.say)
        except LexiconError as error:
            raise ProtocolError(ErrorCode.INVALID_MESSAGE, str(error)) from None
        return LexiconEntry(say=entry.say)

    @router.delete("/{language}/{word}", status_code=204, dependencies=writing)
    async def remove(language: Language, word: Word) -> Response:
        await store.remove(language, word)
        return Response(status_code=204)

    return router


def _check_use(service: TtsService, language: str, entry: Entry) -> None:
    """Is there a voice that can say this?"""
    voices = [voice for voice in service.voices.voices if same_language(language, voice.language)]
    if not voices:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED_LANGUAGE,
            f"no voice speaks {language}; there are voices for "
            f"{', '.join(service.voices.languages)}",
        )
    if entry.phonemes is not None and not any(map(service.takes_phonemes, voices)):
        raise LexiconError(f"no voice for {language} takes phonemes; give a respelling")


def _listed(lexicons: dict[str, Lexicon]) -> LexiconList:
    return LexiconList(
        languages={language: lexicon.as_told() for language, lexicon in lexicons.items()},
        versions={language: lexicon.version for language, lexicon in lexicons.items()},
    )
