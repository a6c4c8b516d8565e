"""One call from ringing to its end: carries out what the :class:`.Dialogue` wants done.

One task group owns every task of the call. Events come from them to :meth:`Conversation._tell`,
which asks the dialogue and hands its commands on without ever waiting.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

import structlog

from examples.voice_agent import commands as cmd
from examples.voice_agent import events as ev
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.dialogue import Dialogue
from examples.voice_agent.ears import Ears
from examples.voice_agent.endpoints import SpeechServices
from examples.voice_agent.mouth import Mouth
from examples.voice_agent.phrases import PhraseBook
from examples.voice_agent.ports import (
    AnswerEnd,
    CallEnded,
    Journal,
    LanguageModel,
    LanguageModelError,
    Outcome,
    Recording,
    TextDelta,
    ToolBox,
    ToolCall,
    ToolContext,
    ToolResult,
)
from examples.voice_agent.refusals import is_final, wait_s
from examples.voice_agent.sentences import Sentence
from examples.voice_agent.tape import Tape
from examples.voice_agent.transport import (
    AudioIn,
    CallTransport,
    Digit,
    HungUp,
    MarkPlayed,
    TransportClosed,
)
from examples.voice_agent.voice import Voice
from services.client.connection import ServiceError

_log = structlog.get_logger(__name__)

_PREPARE_S = 5.0
"""From ringing to picking up: the greeting must be rendered and the ASR service there."""
_LEAVE_S = 8.0
"""For hanging up or transferring, and then until the transport says that the call is over."""
_RENDER_AGAIN_S = 5.0
_MIN_WAIT_S = 0.005
"""A deadline that is past must not make the timer spin."""


_FIRST = (Sentence.FILLER, Sentence.APOLOGY, Sentence.FALLBACK, Sentence.FAILED)
_BY_URGENCY = (*_FIRST, Sentence.CANNOT_HEAR, *(s for s in Sentence if s not in _FIRST))


class Conversation:
    """One call. :meth:`run` lasts as long as the call does."""

    def __init__(
        self,
        config: AgentConfig,
        transport: CallTransport,
        services: SpeechServices,
        phrases: PhraseBook,
        model: LanguageModel,
        tools: ToolBox,
        journal: Journal,
        recording: Recording | None = None,
    ) -> None:
        self._config = config
        self._transport = transport
        self._phrases = phrases
        self._model = model
        self._toolbox = tools
        self._journal = journal
        self._recording = recording
        self._audio = transport.audio_format
        self._sentences = config.language_pack().sentences
        self._dialogue = Dialogue(config, transport.info, tools.specs)
        self._tape = Tape(self._audio.bytes_per_s / 1000, recording.agent) if recording else None
        sent = self._tape.sent if self._tape else None
        self._mouth = Mouth(transport, self._tell, sent)
        call_id, audio = transport.info.call_id, self._audio
        self._voice = Voice(
            services.tts_url, services.tts_key, config, audio, self._mouth, self._tell, call_id
        )
        self._ears = Ears(services.asr_url, services.asr_key, config, audio, self._tell, call_id)
        self._tasks: asyncio.TaskGroup
        self._running: set[asyncio.Task[None]] = set()
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._tool_tasks: dict[str, asyncio.Task[None]] = {}
        self._inbox: deque[ev.Event] = deque()
        self._handling = False
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self._outcome = Outcome.FAILED

    async def run(self) -> Outcome:
        """Answer, talk, and leave. Whatever breaks, the call ends or is handed over.

        When this task is cancelled, the call is hung up.
        """
        self._do_all(self._dialogue.begin(time.monotonic(), time.time()))
        try:
            await self._talk()
        except* Exception as group:  # noqa: BLE001 - a fault must not leave a caller on a dead line
            _log.exception("conversation failed", call=self._transport.info.call_id)
            await self._rescue(repr(group.exceptions[0]))
        finally:
            if not self._over.is_set():
                self._tell(ev.Gone("ended", by_caller=False))
                with suppress(TransportClosed, TimeoutError):
                    async with asyncio.timeout(_LEAVE_S):
                        await self._transport.hang_up()
        return self._outcome

    async def _talk(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._start(self._listen())
            self._start(self._prepare())
            self._start(self._ears.run())
            self._start(self._voice.run())
            self._start(self._speak())
            self._start(self._watch_clock())
            await self._over.wait()
            for task in self._running:
                task.cancel()

    async def _rescue(self, reason: str) -> None:
        """Our own fault: the caller goes to the fallback, back to where they came from, or ends."""
        target = self._config.fallback.transfer_to
        with suppress(Exception):
            async with asyncio.timeout(_LEAVE_S):
                await self._transport.flush()
                if target is not None:
                    await self._transport.transfer(target)
        with suppress(Exception):
            async with asyncio.timeout(_LEAVE_S):
                await self._transport.give_back()
        self._tell(ev.Gone(reason, by_caller=False))

    # The dialogue.

    def _tell(self, event: ev.Event) -> None:
        self._inbox.append(event)
        if self._handling:
            return  # commands that are being carried out gave rise to it
        self._handling = True
        try:
            while self._inbox:
                self._dialogue.ending.asr_audio_s = self._ears.sent_s
                self._do_all(self._dialogue.handle(time.monotonic(), self._inbox.popleft()))
        finally:
            self._handling = False
        if self._tape is not None:
            now = time.monotonic()
            self._tape.heard(now, self._dialogue.saying.playback.position_ms(now))
        self._changed.set()

    def _do_all(self, commands: list[cmd.Command]) -> None:
        for command in commands:
            self._do(command)

    def _do(self, command: cmd.Command) -> None:
        match command:
            case cmd.Write(entry):
                self._journal.write(entry)
                if isinstance(entry, CallEnded):
                    self._outcome = entry.outcome
                    self._over.set()
            case cmd.Ask(request):
                self._requests[request] = self._start(self._think(command))
            case cmd.StopAsking(request):
                if task := self._requests.pop(request, None):
                    task.cancel()
            case cmd.RunTool(call):
                self._tool_tasks[call.call_id] = self._start(self._use_tool(call))
            case cmd.StopTool(call_id):
                if task := self._tool_tasks.pop(call_id, None):
                    task.cancel()
            case cmd.PressKeys(digits):
                self._start(self._press(digits))
            case cmd.Transfer(target):
                self._start(self._leave(partial(self._transport.transfer, target), transfer=True))
            case cmd.GiveBack():
                self._start(self._leave(self._transport.give_back))
            case cmd.HangUp(cause):
                self._start(self._leave(partial(self._transport.hang_up, cause)))
            case _:
                self._do_speech(command)

    def _do_speech(self, command: cmd.Command) -> None:
        voice, mouth = self._voice, self._mouth
        match command:
            case cmd.OpenSpeech(utterance, attempt):
                mouth.begin_attempt(utterance)
                voice.open(utterance, attempt)
            case cmd.Say(utterance, attempt, text):
                voice.say(utterance, attempt, text)
            case cmd.SayNow(utterance, attempt):
                voice.say_now(utterance, attempt)
            case cmd.EndSpeech(utterance, attempt):
                voice.end(utterance, attempt)
            case cmd.CancelSpeech(utterance, attempt):
                voice.cancel(utterance, attempt)
                mouth.forget(utterance)
            case cmd.Play(utterance):
                mouth.play(utterance)
            case cmd.PlaySentence(utterance, sentence, first):
                self._mouth.play(utterance, first=first)
                self._give_sentence(utterance, sentence)
            case cmd.Complete(utterance):
                mouth.complete(utterance)
            case cmd.Pause():
                mouth.pause()
            case cmd.Resume():
                mouth.resume()
            case cmd.Silence():
                mouth.silence()
                self._cut_tape()

    def _cut_tape(self) -> None:
        if self._tape is not None:
            now = time.monotonic()
            self._tape.cut(now, self._dialogue.saying.playback.position_ms(now))

    def _give_sentence(self, utterance: int, sentence: Sentence) -> None:
        phrase = self._phrases.find(self._config, self._audio, self._sentences[sentence])
        if phrase is None:
            self._tell(ev.SpeechFailed(utterance, 0, f"{sentence} was never rendered"))
            return
        self._mouth.add_words(utterance, phrase.words)
        self._mouth.add(utterance, phrase.audio)
        self._tell(ev.WordsTimed(utterance, 0, phrase.words))
        length_ms = len(phrase.audio) / self._audio.bytes_per_s * 1000
        self._tell(ev.AudioCame(utterance, 0, length_ms))
        self._tell(ev.AudioComplete(utterance, 0))

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _watch_clock(self) -> None:
        while True:
            self._changed.clear()
            now = time.monotonic()
            deadline = self._dialogue.deadline(now)
            wait = None if deadline is None else max(_MIN_WAIT_S, deadline - now)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                self._tell(ev.Tick())

    # The call.

    async def _prepare(self) -> None:
        """All that can be done while it rings, then pick up."""
        greeting = self._sentences.get(Sentence.GREETING, "")
        warming = self._start(self._warm())
        try:
            async with asyncio.timeout(_PREPARE_S):
                await self._render([greeting])
                await self._ears.connected.wait()
                await self._transport.answer()
        except TransportClosed:
            return
        except (ServiceError, TimeoutError) as error:
            warming.cancel()
            self._tell(ev.Broken(f"not ready to answer: {error or 'it took too long'}"))
            return
        self._tell(ev.Answered())
        await self._render_rest()

    async def _render_rest(self) -> None:
        """The sentences for bad times; as long as it takes."""
        while True:
            try:
                texts = [self._sentences.get(sentence, "") for sentence in _BY_URGENCY]
                await self._render(texts)
            except ServiceError as error:
                _log.warning("sentences cannot be rendered", error=str(error))
                if is_final(error, _RENDER_AGAIN_S):
                    return
                await asyncio.sleep(wait_s(error, _RENDER_AGAIN_S))
            else:
                return

    async def _render(self, texts: Sequence[str]) -> None:
        call_id = self._transport.info.call_id
        await self._phrases.render(self._config, self._audio, texts, call_id=call_id)

    async def _warm(self) -> None:
        messages = self._dialogue.history.messages()
        await self._model.warm(messages, self._toolbox.specs)

    async def _listen(self) -> None:
        async for event in self._transport.events():
            match event:
                case AudioIn(data, at_s):
                    self._ears.hear(data)
                    if self._recording is not None:
                        self._recording.caller(data, at_s)
                case MarkPlayed(name):
                    self._mouth.mark_played(name)
                case Digit(digit):
                    self._tell(ev.KeyPressed(digit))
                case HungUp(cause, by_caller):
                    self._tell(ev.Gone(cause, by_caller))
                    return
        self._tell(ev.Gone("the transport ended", by_caller=False))

    async def _speak(self) -> None:
        try:
            await self._mouth.run()
        except* TransportClosed:
            pass  # the transport's last event says so, too

    async def _press(self, digits: str) -> None:
        try:
            async with asyncio.timeout(_LEAVE_S):
                await self._transport.send_digits(digits)
        except TransportClosed:
            return
        except Exception as error:  # noqa: BLE001 - transports fail in their own ways
            _log.warning("keys cannot be pressed", error=f"{type(error).__name__}: {error}")

    async def _leave(self, leave: Callable[[], Awaitable[None]], *, transfer: bool = False) -> None:
        """Let go of the call; the transport then tells that it is over."""
        try:
            async with asyncio.timeout(_LEAVE_S):
                await leave()
        except TransportClosed:
            return
        except Exception as error:  # noqa: BLE001 - transports fail in their own ways
            if transfer:
                self._tell(ev.TransferFailed(f"{type(error).__name__}: {error}"))
                return
        await asyncio.sleep(_LEAVE_S)
        self._tell(ev.Gone("the transport does not confirm", by_caller=False))

    # The language model and tools.

    async def _think(self, ask: cmd.Ask) -> None:
        deltas = self._model.stream(ask.messages, ask.tools)
        failure: ev.AnswerFailed | None = None
        ended = False
        try:
            async for delta in deltas:
                match delta:
                    case TextDelta(text):
                        self._tell(ev.AnswerText(ask.request, text))
                    case ToolCall():
                        self._tell(ev.AnswerCall(ask.request, delta))
                    case AnswerEnd(reason, usage):
                        ended = True  # but the client may want to put its connection in order
                        self._tell(ev.AnswerDone(ask.request, reason, usage))
            if not ended:
                failure = ev.AnswerFailed(ask.request, "the answer broke off", retryable=True)
        except LanguageModelError as error:
            failure = ev.AnswerFailed(ask.request, str(error), error.retryable)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller must hear something
            _log.exception("language model failed")
            failure = ev.AnswerFailed(ask.request, repr(error), retryable=False)
        finally:
            if isinstance(deltas, AsyncGenerator):
                await deltas.aclose()
            self._requests.pop(ask.request, None)
        if failure is not None and not ended:
            self._tell(failure)

    async def _use_tool(self, call: ToolCall) -> None:
        context = ToolContext(self._transport.info, self._config.language)
        try:
            async with asyncio.timeout(self._config.limits.tool_s):
                result = await self._toolbox.run(call, context)
        except TimeoutError:
            result = ToolResult(f"{call.name} took too long and was given up", ok=False)
        except Exception as error:  # noqa: BLE001 - a tool's fault is a result for the model
            _log.exception("tool failed", tool=call.name)
            result = ToolResult(f"{call.name} failed: {error}", ok=False)
        finally:
            self._tool_tasks.pop(call.call_id, None)
        self._tell(ev.ToolFinished(call.call_id, result))
