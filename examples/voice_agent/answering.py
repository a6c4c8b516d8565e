"""Has answers written: asks the language model, runs its tools, gives its words to :mod:`.saying`.

Sans I/O. Before the caller's turn is surely over an answer is *speculative*: it is written and
spoken in secret, and only tools that read may run.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from examples.voice_agent.answer import Answer, Step
from examples.voice_agent.commands import Ask, Command, PressKeys, RunTool, StopAsking, StopTool
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.events import AnswerCall, AnswerDone, AnswerText, ToolFinished
from examples.voice_agent.history import AgentItem, CallerItem, History, Item, ToolItem
from examples.voice_agent.ports import SendDigits, ToolCall, ToolResult, ToolSpec
from examples.voice_agent.saying import Saying

_INTERRUPTED = "The caller interrupted; the result is not known yet."


class AnswerLost(Exception):
    """The answer cannot be had; the sentence says why."""


class Answering:
    """The current answer, if there is one. Events of former ones are of no account."""

    def __init__(
        self,
        out: Callable[[Command], None],
        config: AgentConfig,
        tools: Sequence[ToolSpec],
        history: History,
        saying: Saying,
    ) -> None:
        self.answer: Answer | None = None
        self._out = out
        self._config = config
        self._tools = tuple(tools)
        self._reads_only = {tool.name for tool in tools if not tool.side_effects}
        self._history = history
        self._saying = saying
        self._last_request = 0
        self._detached: dict[str, ToolItem] = {}
        """Results that come after their answer was dropped."""

    def begin(self, now: float, text: str, *, released: bool) -> Answer:
        """Have an answer written to `text`, which is in the history if it is `released`."""
        self.drop()
        utterance = self._saying.new()
        step = Step(0, AgentItem(utterance))
        self.answer = Answer(text, utterance, released, step, owed_since=now)
        self._ask(now, self.answer)
        return self.answer

    def release(self, now: float) -> None:
        """The turn is over, and this is the answer to it. Its `text` is in the history by now."""
        answer = self._current()
        answer.released = True
        answer.owed_since = now
        self._history.add(answer.record)
        answer.record = []
        self._saying.release(now, answer.utterance)
        for call in answer.step.waiting:
            self._run(now, answer, call)
        answer.step.waiting = []
        self._go_on(now, answer)

    def drop(self) -> None:
        """It is not wanted any more; what was heard of it stays in the history."""
        answer, self.answer = self.answer, None
        if answer is None:
            return
        step = answer.step
        if not step.done:
            self._out(StopAsking(step.request))
        if answer.utterance in self._saying.queue:
            self._saying.end(answer.utterance)
        else:
            self._saying.cancel(answer.utterance)
        if answer.written:
            return
        if step.item.end is None:
            step.item.end = len(answer.utterance.text)
        self._detach_tools(answer)

    # What comes of the requests.

    def on_text(self, now: float, event: AnswerText) -> None:
        answer = self._of(event.request)
        if answer is None or not event.text:
            return
        utterance = answer.utterance
        utterance.note_time("llm_first_s", now)
        text = event.text[: self._config.limits.answer_characters - len(utterance.text)]
        if text:
            self._saying.say(utterance, text)
        if answer.released:
            self._saying.release(now, utterance)
        if len(text) < len(event.text):
            self._out(StopAsking(event.request))
            self._end_step(now, answer)

    def on_call(self, now: float, event: AnswerCall) -> None:
        answer = self._of(event.request)
        if answer is None or len(answer.step.calls) >= self._config.limits.tools_per_step:
            return
        if any(call.call_id == event.call.call_id for call in answer.step.calls):
            return
        answer.step.calls.append(event.call)
        if answer.released or event.call.name in self._reads_only:
            self._run(now, answer, event.call)
        else:
            answer.step.waiting.append(event.call)

    def on_done(self, now: float, event: AnswerDone) -> None:
        """The model is done with a request.

        Raises:
            AnswerLost: it has said nothing.
        """
        if answer := self._of(event.request):
            if not answer.step.calls and not answer.utterance.text.strip():
                return self.on_failed(now, event.request, "the answer is empty", retryable=True)
            self._end_step(now, answer)
        return None

    def on_failed(self, now: float, request: int, reason: str, *, retryable: bool) -> None:
        """A request failed: it is repeated as long as nothing of it has been spoken.

        Raises:
            AnswerLost: there is no hope.
        """
        answer = self._of(request)
        if answer is None:
            return
        answer.step.done = True  # there is nothing left to stop
        fresh = len(answer.utterance.text) == answer.step.item.start and not answer.step.calls
        if not (retryable and fresh and answer.retries < self._config.llm.retries):
            raise AnswerLost(reason)
        answer.retries += 1
        self._forget_step(answer)
        self._ask(now, answer)

    def on_tool(self, now: float, event: ToolFinished) -> ToolCall | None:
        """Gives the call that this is the result of."""
        result = self._bounded(event.result)
        if item := self._detached.pop(event.call_id, None):
            item.content = result.content
            return None
        answer = self.answer
        call = self._started(answer, event.call_id) if answer else None
        if answer is None or call is None:
            return None
        answer.step.results[event.call_id] = result
        self._go_on(now, answer)
        return call

    # Steps.

    def _ask(self, now: float, answer: Answer) -> None:
        pending: list[Item] = [] if answer.released else [CallerItem(answer.text), *answer.record]
        messages = self._history.messages(pending)
        self._last_request += 1
        item = AgentItem(answer.utterance, start=len(answer.utterance.text))
        answer.step = Step(self._last_request, item)
        self._record(answer, [item])
        answer.utterance.note_time("llm_start_s", now)
        tools = self._tools if answer.steps <= self._config.limits.tool_steps else ()
        self._out(Ask(self._last_request, messages, tools))

    def _end_step(self, now: float, answer: Answer) -> None:
        answer.step.done = True
        answer.step.item.end = len(answer.utterance.text)
        if answer.step.calls:
            self._saying.say_now(answer.utterance)
        else:
            self._finish(answer)
        self._go_on(now, answer)

    def _go_on(self, now: float, answer: Answer) -> None:
        """With the next request, when the tools of this one are done."""
        step = answer.step
        if answer.written or not step.calls or not step.tools_finished:
            return
        actions = [r.action for r in step.results.values() if r.action is not None]
        if actions and not answer.released:
            return
        step.item.calls = tuple(step.calls)
        results = step.results
        self._record(answer, [ToolItem(c.call_id, results[c.call_id].content) for c in step.calls])
        for action in actions:
            if isinstance(action, SendDigits):
                self._out(PressKeys(action.digits))
            else:
                answer.action = action
        if answer.action is not None:
            self._finish(answer)
        else:
            answer.steps += 1
            self._ask(now, answer)

    def _finish(self, answer: Answer) -> None:
        answer.written = True
        self._saying.end(answer.utterance)

    # Tools.

    def _run(self, now: float, answer: Answer, call: ToolCall) -> None:
        answer.step.started[call.call_id] = now
        self._out(RunTool(call))

    def _started(self, answer: Answer, call_id: str) -> ToolCall | None:
        return next((call for call in answer.step.running if call.call_id == call_id), None)

    def _detach_tools(self, answer: Answer) -> None:
        """Those that only read are stopped and forgotten; what does things cannot be undone."""
        step, kept = answer.step, list[ToolCall]()
        results: list[Item] = []
        for call in step.calls:
            result = step.results.get(call.call_id)
            if result is not None and answer.released:
                kept.append(call)
                results.append(ToolItem(call.call_id, result.content))
            elif call in step.running and call.name in self._reads_only:
                self._out(StopTool(call.call_id))
            elif call in step.running:
                kept.append(call)
                self._detached[call.call_id] = item = ToolItem(call.call_id, _INTERRUPTED)
                results.append(item)
        step.item.calls = tuple(kept)
        self._record(answer, results)

    def _bounded(self, result: ToolResult) -> ToolResult:
        limit = self._config.limits.tool_result_characters
        return replace(result, content=result.content[:limit])

    # Where things are.

    def _record(self, answer: Answer, items: list[Item]) -> None:
        if answer.released:
            self._history.add(items)
        else:
            answer.record += items

    def _forget_step(self, answer: Answer) -> None:
        """Its item says nothing, and is left out of the messages."""
        answer.step.item.end = answer.step.item.start

    def _of(self, request: int) -> Answer | None:
        answer = self.answer
        if answer is None or answer.step.request != request or answer.step.done:
            return None
        return answer

    def _current(self) -> Answer:
        assert self.answer is not None
        return self.answer
