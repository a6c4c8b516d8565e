"""Whether the services would take another call, asked ahead of it: callers do not wait for that.

A service says itself when it is full, by what it measures; see its `/health/ready`. Our nginx
passes the question on, and is ready as long as one instance is.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx
import structlog

log = structlog.get_logger(__name__)

_EVERY_S = 1.0
_ANSWER_S = 2.0
_SILENT = 3
"""Questions without an answer after which a service is taken for gone: one may get lost."""


def ready_url(service: str, url: str) -> str:
    """Where to ask.

    Args:
        service: "asr" or "tts": nginx has both behind one address; a service does not mind.
        url: as calls are given it, `http://…`.
    """
    return f"{url.rstrip('/')}/health/ready?service={service}"


class Readiness:
    """One for each process; owns the task that asks. Use it as a context manager.

    Args:
        urls: `http://…` of "asr" and "tts".
        every_s: from one question to the next.
    """

    def __init__(self, urls: Mapping[str, str], *, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._urls = {name: ready_url(name, url) for name, url in urls.items()}
        self._silent = dict.fromkeys(urls, 0)
        self._refusals: dict[str, str] = {}
        self._untold: set[str] = set()
        """Whose way something lies that does not pass the question on; calls are taken untold."""
        self._task: asyncio.Task[None] | None = None

    @property
    def refusal(self) -> str | None:
        """Why no call should be taken now, e.g. "asr: draining"; None: nothing is known against."""
        return next(iter(self._refusals.values()), None)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._ask_forever(), name="readiness")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _ask_forever(self) -> None:
        async with httpx.AsyncClient(timeout=_ANSWER_S, trust_env=False) as http:
            while True:
                await asyncio.gather(*(self._ask(http, name) for name in self._urls))
                await asyncio.sleep(self._every_s)

    async def _ask(self, http: httpx.AsyncClient, name: str) -> None:
        try:
            answer = await http.get(self._urls[name])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._note_silence(name, str(error) or type(error).__name__)
            return
        if answer.status_code in (502, 504):
            self._note_silence(name, "no instance answers")
            return
        self._silent[name] = 0
        # Anything else is no refusal: a proxy may keep this page to itself.
        refused = answer.status_code == 503
        self._note(name, f"{name}: {why_not(answer)}" if refused else None)
        if not refused and answer.status_code != 200 and name not in self._untold:
            self._untold.add(name)
            log.warning("service_readiness_untold", service=name, status=answer.status_code)

    def _note_silence(self, name: str, why: str) -> None:
        self._silent[name] += 1
        if self._silent[name] >= _SILENT:
            self._note(name, f"{name}: {why}")

    def _note(self, name: str, refusal: str | None) -> None:
        before = self._refusals.get(name)
        if refusal is None:
            self._refusals.pop(name, None)
        else:
            self._refusals[name] = refusal
        if (before is None) != (refusal is None):
            log.warning("service_readiness", service=name, refusal=refusal)


def why_not(answer: httpx.Response) -> str:
    """What a service that is not ready says of itself."""
    try:
        told = answer.json()
        return "; ".join(told.get("troubles") or [told.get("failure") or told["phase"]])
    except (ValueError, AttributeError, KeyError, TypeError):
        return "not ready"
