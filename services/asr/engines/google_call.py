"""One `StreamingRecognize` of Google's client library, and its answers in our words."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from typing import Any

import structlog

from services.asr.engines.base import HypothesisWord
from services.asr.engines.google_errors import GoogleError, error_of
from services.asr.engines.google_request import base_language, import_client
from services.asr.engines.google_results import Result

log = structlog.get_logger(__name__)

_VERDICT_S = 0.5
"""How long the service's status may come after a write that failed because of it."""
_WRITE_FAILED = "Internal error from Core"


class GoogleCall:
    """One `StreamingRecognize` of the client library."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._speech = import_client()
        self._verdict: tuple[str, str] | None = None
        """The status that the service ended the call with, and its details."""
        self._ended = asyncio.Event()
        call.add_done_callback(self._note_verdict)

    async def configure(self, recognizer: str, config: Any) -> None:
        await self._write(
            self._speech.StreamingRecognizeRequest(recognizer=recognizer, streaming_config=config)
        )

    async def send(self, audio: bytes) -> None:
        await self._write(self._speech.StreamingRecognizeRequest(audio=audio))

    async def end(self) -> None:
        await self._unless_over(self._call.done_writing())

    async def results(self) -> AsyncIterator[Sequence[Result]]:
        from google.api_core.exceptions import GoogleAPICallError

        try:
            async for response in self._call:
                yield [result_of(result, final=result.is_final) for result in response.results]
        except GoogleAPICallError as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_VERDICT_S):
                    await self._ended.wait()
            raise told(*(self._verdict or verdict_of(error))) from error

    def cancel(self) -> None:
        self._call.cancel()

    async def _write(self, request: Any) -> None:
        await self._unless_over(self._call.write(request))

    async def _unless_over(self, writing: Awaitable[None]) -> None:
        """When the call is over, its results tell why: leave it to whoever reads them."""
        from google.api_core.exceptions import GoogleAPICallError

        try:
            await writing
        except (GoogleAPICallError, asyncio.InvalidStateError):
            await asyncio.Event().wait()

    def _note_verdict(self, call: Any) -> None:
        """Keep the service's status: a write that fails because of it replaces it (grpc #36066)."""
        code, details = _at_once(call.code()), str(_at_once(call.details()))
        if self._verdict is None and details != _WRITE_FAILED:
            self._verdict = (code.name, details)
            self._ended.set()


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that does not wait, as those of a call that is over."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("the call is not over")


def verdict_of(error: Any) -> tuple[str, str]:
    code = error.grpc_status_code
    return "UNKNOWN" if code is None else str(code.name), str(error.message)


def told(status: str, detail: str) -> GoogleError:
    """An error in our words; Google's own may name what is not the client's business."""
    log.warning("google ended a call", status=status, detail=detail)
    return error_of(status)


def result_of(result: Any, *, final: bool) -> Result:
    """From the library's message; 0 and empty stand for "not told" there."""
    best = result.alternatives[0] if result.alternatives else None
    sure = (best.confidence or None) if best is not None and final else None
    words = tuple(
        HypothesisWord(
            word.word, _ms(word.start_offset), _ms(word.end_offset), word.confidence or sure or 0.0
        )
        for word in (best.words if best is not None and final else ())
    )
    return Result(
        text=best.transcript if best is not None else "",
        final=final,
        end_ms=_ms(result.result_end_offset),
        language=base_language(result.language_code) if result.language_code else None,
        confidence=sure,
        words=words,
    )


def _ms(offset: Any) -> int:
    return round(float(offset.total_seconds()) * 1000)
