"""One thread makes the speech tokens of all requests, a step at a time for all of them together.

A step costs a GPU nearly the same for one request as for many, so requests join as soon as a slot
is free and leave when they end; whoever waits for a request's tokens sees them as they come.
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
import torch

from services.tts.engines.base import EngineError, EngineLost
from services.tts.engines.chatterbox.backbone import ROWS, Backbone
from services.tts.engines.chatterbox.failures import engine_error
from services.tts.engines.chatterbox.guard import Guard, Verdict
from services.tts.engines.chatterbox.prompts import Prompt, Prompts
from services.tts.engines.chatterbox.sampling import Noise, Sampling, draw, guided

log = structlog.get_logger(__name__)

_CLOSING_S = 10.0
_NO_TOKEN = -1


class Ending(Enum):
    """Why there are no more tokens."""

    END = "the model said so"
    GUARD = "the voice was lost"
    BUDGET = "the text is too short for more"
    CANCELLED = "nobody listens"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One text to speak."""

    prompt: Prompt
    sampling: Sampling
    seed: int
    budget: int
    """Most tokens."""
    guard: Guard


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a request's tokens are so far."""

    tokens: tuple[int, ...]
    attention: tuple[npt.NDArray[np.float32], ...]
    """For each token, [text tokens]: where the heads that follow the text looked at."""
    ending: Ending | None


class TokenStream:
    """A request's tokens as they come. Thread-safe."""

    def __init__(self, request: TokenRequest) -> None:
        self.request = request
        self._tokens: list[int] = []
        self._attention: list[npt.NDArray[np.float32]] = []
        self._ending: Ending | None = None
        self._error: EngineError | None = None
        self._changed = threading.Condition()

    @property
    def ended(self) -> bool:
        return self._ending is not None or self._error is not None

    def wait(self, count: int, timeout_s: float) -> Spoken:
        """All tokens so far, once there are `count` or no more will come.

        Raises:
            EngineError: they could not be made, or not in time.
        """
        with self._changed:
            enough = self._changed.wait_for(
                lambda: self.ended or len(self._tokens) >= count, timeout_s
            )
            if self._error is not None:
                raise self._error
            if not enough:
                raise EngineError(f"the speech model made no {count} tokens in {timeout_s:g} s")
            return Spoken(tuple(self._tokens), tuple(self._attention), self._ending)

    def cancel(self) -> None:
        """Its slot is free before the next step."""
        self._end(Ending.CANCELLED)

    def _add(self, token: int, attention: npt.NDArray[np.float32]) -> None:
        with self._changed:
            self._tokens.append(token)
            self._attention.append(attention)
            self._changed.notify_all()

    def _end(self, ending: Ending) -> None:
        with self._changed:
            if not self.ended:
                self._ending = ending
            self._changed.notify_all()

    def _fail(self, error: EngineError) -> None:
        with self._changed:
            if not self.ended:
                self._error = error
            self._changed.notify_all()


@dataclass(slots=True)
class _Slot:
    """A request that is being spoken."""

    stream: TokenStream
    noise: Noise
    logits: Any
    """[2, vocabulary] of the next token."""
    attention: npt.NDArray[np.float32]
    seen: Any
    """[vocabulary]: tokens that it has used."""
    last: int
    made: int = 0


@dataclass(slots=True)
class _Queue:
    waiting: deque[TokenStream] = field(default_factory=deque)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False


class TokenLoop:
    """The owner of the language model.

    Args:
        prompts: makes prompts and embeds tokens.
        backbone: the layers, with as many slots as requests may be spoken at a time.
    """

    def __init__(self, prompts: Prompts, backbone: Backbone) -> None:
        self._prompts = prompts
        self._backbone = backbone
        self._most = len(backbone.lengths)
        self._queue = _Queue()
        self._slots: list[_Slot] = []
        self._lost: EngineLost | None = None
        self._thread = threading.Thread(target=self._work, name="chatterbox-tokens", daemon=True)
        self.steps = 0
        """Of all requests together, since the start."""

    def start(self) -> None:
        self._thread.start()

    def submit(self, request: TokenRequest) -> TokenStream:
        """Begin to speak as soon as there is a slot.

        Raises:
            EngineLost: the device does not answer any more.
        """
        stream = TokenStream(request)
        with self._queue.changed:
            if self._lost is not None:
                raise self._lost
            if self._queue.closed:
                raise EngineError("the speech model is shut down")
            self._queue.waiting.append(stream)
            self._queue.changed.notify_all()
        return stream

    def close(self) -> None:
        with self._queue.changed:
            self._queue.closed = True
            self._queue.changed.notify_all()
        self._thread.join(_CLOSING_S)

    # The thread's side.

    def _work(self) -> None:
        with torch.inference_mode():
            while self._lost is None and self._gather():
                try:
                    self._step()
                except Exception as error:  # noqa: BLE001 - waiting threads must hear of it
                    self._fail_all(error)
        self._drop(self._lost or EngineError("the speech model is shut down"))

    def _gather(self) -> bool:
        """Free the slots of the ended, fill them with the waiting; False when closed."""
        for number in reversed(range(len(self._slots))):
            if self._slots[number].stream.ended:
                self._leave(number)
        with self._queue.changed:
            while not (self._queue.closed or self._slots or self._queue.waiting):
                self._queue.changed.wait()
            if self._queue.closed:
                return False
            joining: list[TokenStream] = []
            while self._queue.waiting and len(self._slots) + len(joining) < self._most:
                joining.append(self._queue.waiting.popleft())
        for stream in joining:
            if not stream.ended:
                self._join(stream)
        return True

    def _join(self, stream: TokenStream) -> None:
        request = stream.request
        try:
            logits = self._backbone.prefill(len(self._slots), request.prompt.embeds)
            vocabulary, start = logits.shape[-1], self._prompts.start_token
            noise = Noise(request.seed, vocabulary, self._backbone.device)
            seen = torch.zeros(vocabulary, dtype=torch.bool, device=self._backbone.device)
            seen[start] = True
        except Exception as error:  # noqa: BLE001 - it concerns this request only, unless lost
            self._fail(stream, error)
            return
        span = request.prompt.text_span
        nothing = np.zeros(span.stop - span.start, dtype=np.float32)
        self._slots.append(_Slot(stream, noise, logits, nothing, seen, last=start))

    def _leave(self, number: int) -> None:
        last = len(self._slots) - 1
        if number != last:
            self._backbone.move(last, number)
            self._slots[number] = self._slots[last]
        self._slots.pop()

    def _step(self) -> None:
        """Draw a token for everybody, and let the model hear them."""
        self._draw()
        going_on = [slot for slot in self._slots if not slot.stream.ended]
        if len(going_on) < len(self._slots):
            for number in reversed(range(len(self._slots))):
                if self._slots[number].stream.ended:
                    self._leave(number)
        if not self._slots:
            return
        embeds = self._prompts.embed_tokens([(slot.last, slot.made) for slot in self._slots])
        logits, attention = self._backbone.step(embeds.repeat_interleave(ROWS, dim=0))
        looks = attention.cpu().numpy()
        for number, slot in enumerate(self._slots):
            slot.logits = logits[ROWS * number : ROWS * number + ROWS]
            slot.attention = looks[number, slot.stream.request.prompt.text_span]
        self.steps += 1

    def _draw(self) -> None:
        slots = self._slots
        if not slots:
            return
        end = self._prompts.end_token
        sampling = [slot.stream.request.sampling for slot in slots]
        logits = guided(torch.cat([slot.logits for slot in slots]), sampling)
        verdicts = [slot.stream.request.guard.judge(slot.attention, slot.last) for slot in slots]
        for number, verdict in enumerate(verdicts):
            if verdict is Verdict.NOT_THE_END:
                logits[number, end] = -(2.0**15)
        seen = torch.stack([slot.seen for slot in slots])
        noise = torch.stack([slot.noise.next() for slot in slots])
        drawn = draw(logits, seen, sampling, noise)
        drawn = drawn.where(logits.isfinite().all(dim=-1), _NO_TOKEN).tolist()
        for slot, token, verdict in zip(slots, drawn, verdicts, strict=True):
            self._take(slot, token, verdict)

    def _take(self, slot: _Slot, token: int, verdict: Verdict) -> None:
        request = slot.stream.request
        if token == _NO_TOKEN:
            slot.stream._fail(EngineError("the speech model computed no numbers for this text"))
        elif verdict is Verdict.THE_END:
            slot.stream._end(Ending.GUARD)
        elif token == self._prompts.end_token:
            slot.stream._end(Ending.END)
        else:
            slot.seen[token] = True
            slot.last = token
            slot.made += 1
            slot.stream._add(token, slot.attention)
            if slot.made >= request.budget:
                slot.stream._end(Ending.BUDGET)

    def _fail_all(self, error: Exception) -> None:
        for slot in self._slots:
            self._fail(slot.stream, error)
        self._slots = []

    def _fail(self, stream: TokenStream, error: Exception) -> None:
        told = engine_error(error)
        if isinstance(told, EngineLost):
            self._lost = told
        log.error("speech tokens failed", error=repr(error))
        stream._fail(told)

    def _drop(self, error: EngineError) -> None:
        with self._queue.changed:
            self._queue.closed = True
            streams = [*self._queue.waiting, *(slot.stream for slot in self._slots)]
            self._queue.waiting.clear()
        for stream in streams:
            stream._fail(error)
