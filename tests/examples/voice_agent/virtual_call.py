"""A call on a virtual clock: a dialogue with a model, a voice and a line that are exact.

The line plays in frames of 20 ms and reports the end of each utterance; a word lasts 300 ms.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from examples.voice_agent import commands as cmd
from examples.voice_agent import events as ev
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.dialogue import Dialogue
from examples.voice_agent.ports import (
    AgentTurn,
    CallEnded,
    CallerTurn,
    Entry,
    Happened,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from examples.voice_agent.transport import CallInfo

C = TypeVar("C", bound=cmd.Command)
E = TypeVar("E", bound=Entry)

FRAME_S = 0.02
WORD_MS = 300.0
INFO = CallInfo("c1", "100", "200")
GREETING = "Hello, how can I help you?"


def agent(**sections: object) -> AgentConfig:
    """An agent with defaults but for these sections."""
    return AgentConfig.model_validate({"name": "test", "prompt": "Be brief.", **sections})


@dataclass
class _Sound:
    text: str = ""
    said: int = 0
    """Words that were made."""
    audio_ms: float = 0.0
    unsent_ms: float = 0.0
    sent_ms: float = 0.0
    marks: list[float] = field(default_factory=list)
    complete: bool = False
    done: bool = False


Script = Callable[[cmd.Ask], list[tuple[float, ev.Event]]]


def says(text: str, delay_s: float = 0.1) -> Script:
    """A model that always answers so, word by word."""

    def script(ask: cmd.Ask) -> list[tuple[float, ev.Event]]:
        words = [word + " " for word in text.split()]
        deltas: list[tuple[float, ev.Event]] = [
            (delay_s + 0.01 * i, ev.AnswerText(ask.request, word)) for i, word in enumerate(words)
        ]
        return [*deltas, (delay_s + 0.01 * len(words), ev.AnswerDone(ask.request, "stop"))]

    return script


def calls(name: str, call_id: str = "t1", text: str = "") -> Script:
    """A model that wants a tool."""

    def script(ask: cmd.Ask) -> list[tuple[float, ev.Event]]:
        deltas: list[tuple[float, ev.Event]] = []
        if text:
            deltas.append((0.1, ev.AnswerText(ask.request, text)))
        call = ev.AnswerCall(ask.request, ToolCall(call_id, name, {}))
        return [*deltas, (0.12, call), (0.13, ev.AnswerDone(ask.request, "tool_calls"))]

    return script


def silent(_ask: cmd.Ask) -> list[tuple[float, ev.Event]]:
    """A model that never answers."""
    return []


def fails(ask: cmd.Ask) -> list[tuple[float, ev.Event]]:
    return [(0.1, ev.AnswerFailed(ask.request, "no route", retryable=True))]


class VirtualCall:
    """Answered at time 0. `scripts` are used in turn, the last one for ever."""

    def __init__(
        self,
        config: AgentConfig | None = None,
        *scripts: Script,
        tools: Sequence[ToolSpec] = (),
        results: dict[str, tuple[float, ToolResult]] | None = None,
        tts_delay_s: float = 0.1,
        answer: bool = True,
        goes_on: bool = False,
    ) -> None:
        self.now = 0.0
        self.commands: list[tuple[float, cmd.Command]] = []
        self.entries: list[Entry] = []
        self.heard: list[tuple[float, int]] = []
        """Frames in which the caller heard something: when, and of which utterance."""
        self.tts_delay_s = tts_delay_s
        self.tts_works = True
        self.marks_work = True
        self.dialogue = Dialogue(config or agent(), replace(INFO, goes_on=goes_on), tools)
        self._scripts = list(scripts) or [says("Fine.")]
        self._results = results or {}
        self._later: list[tuple[float, int, ev.Event]] = []
        self._count = itertools.count()
        self._sounds: dict[int, _Sound] = {}
        self._line: list[int] = []
        self._paused = False
        self._deadline: float | None = None
        self._take(self.dialogue.begin(0.0, 1000.0))
        if answer:
            self.tell(ev.Answered())

    # What a test does.

    def tell(self, *events: ev.Event) -> None:
        """As in a real call nobody looks at the clock before the deadline that was known then."""
        for event in events:
            self._take(self.dialogue.handle(self.now, event))
        self._deadline = self.dialogue.deadline(self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = round(self.now + FRAME_S, 6)
            while self._later and self._later[0][0] <= self.now:
                self.tell(heapq.heappop(self._later)[2])
            if self._deadline is not None and self._deadline <= self.now:
                self.tell(ev.Tick())
            self._play_frame()

    def until_quiet(self, limit_s: float = 60.0) -> None:
        """Until the agent has nothing more to say."""
        for _ in range(round(limit_s / 0.1)):
            self.run(0.1)
            if not self.dialogue.has_floor:
                return
        raise AssertionError("the agent never falls silent")

    def caller_says(self, text: str, *, seconds: float = 1.0, pending: bool = True) -> None:
        """A whole turn, as the ASR service tells it."""
        self.tell(ev.SpeechBegan())
        self.run(seconds)
        self.tell(ev.PartialHeard(text))
        self.run(0.2)
        if pending:
            self.tell(ev.PendingHeard(text))
            self.run(0.1)
        self.final(text)

    def final(self, text: str) -> None:
        self.tell(ev.FinalHeard(text, turn_end=True, speech_end_s=self.now - 0.3))

    # What a test looks at.

    def all(self, kind: type[C]) -> list[C]:
        return [command for _, command in self.commands if isinstance(command, kind)]

    def when(self, kind: type[cmd.Command]) -> float:
        """The last time of such a command."""
        return next(at for at, command in reversed(self.commands) if isinstance(command, kind))

    def journal(self, kind: type[E]) -> list[E]:
        return [entry for entry in self.entries if isinstance(entry, kind)]

    def happenings(self) -> list[str]:
        return [entry.what for entry in self.journal(Happened)]

    def agent_turns(self, kind: str = "answer") -> list[AgentTurn]:
        return [turn for turn in self.journal(AgentTurn) if turn.kind == kind]

    @property
    def caller_turns(self) -> list[str]:
        return [turn.text for turn in self.journal(CallerTurn)]

    @property
    def ended(self) -> CallEnded | None:
        return next(iter(self.journal(CallEnded)), None)

    def messages(self) -> list[tuple[str, str]]:
        """Of the latest request, without the prompt."""
        return [(m.role, m.content) for m in self.all(cmd.Ask)[-1].messages[1:]]

    def longest_silence(self, since: float, until: float) -> float:
        times = [since, *(at for at, _ in self.heard if since <= at <= until), until]
        return max(b - a for a, b in itertools.pairwise(times))

    # The world.

    def _after(self, delay_s: float, event: ev.Event) -> None:
        heapq.heappush(self._later, (self.now + delay_s, next(self._count), event))

    def _take(self, commands: list[cmd.Command]) -> None:
        for command in commands:
            self.commands.append((self.now, command))
            self._do(command)

    def _do(self, command: cmd.Command) -> None:
        match command:
            case cmd.Write(entry):
                self.entries.append(entry)
            case cmd.Ask():
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                for delay_s, event in script(command):
                    self._after(delay_s, event)
            case cmd.RunTool(call):
                default = (0.05, ToolResult("done"))
                delay_s, result = self._results.get(call.name, default)
                self._after(delay_s, ev.ToolFinished(call.call_id, result))
            case cmd.Transfer() | cmd.GiveBack() | cmd.HangUp():
                self._after(0.05, ev.Gone("Normal Clearing", by_caller=False))
            case _:
                self._do_speech(command)

    def _do_speech(self, command: cmd.Command) -> None:
        match command:
            case cmd.OpenSpeech(utterance, attempt):
                sound = self._sounds.setdefault(utterance, _Sound())
                sound.text, sound.said, sound.done = "", 0, False
                if not self.tts_works:
                    self._after(0.05, ev.SpeechFailed(utterance, attempt, "away"))
            case cmd.Say(utterance, attempt, text):
                self._sounds[utterance].text += text
                if text.rstrip().endswith((".", "?", "!", ",")):
                    self._speak(utterance, attempt)
            case cmd.SayNow(utterance, attempt):
                self._speak(utterance, attempt)
            case cmd.EndSpeech(utterance, attempt):
                self._speak(utterance, attempt)
                if self.tts_works:
                    self._after(self.tts_delay_s, ev.AudioComplete(utterance, attempt))
            case cmd.PlaySentence(utterance, sentence, first):
                text = self.dialogue.config.language_pack().sentences[sentence]
                self._sounds[utterance] = _Sound(text)
                self._line.insert(0 if first else len(self._line), utterance)
                self._speak(utterance, 0, delay_s=0.0)
                self._after(0.0, ev.AudioComplete(utterance, 0))
            case cmd.Play(utterance):
                self._line.append(utterance)
            case cmd.Complete(utterance):
                self._sounds[utterance].complete = True
            case cmd.Pause():
                self._paused = True
            case cmd.Resume():
                self._paused = False
            case cmd.Silence():
                self._paused = False
                self._line.clear()

    def _speak(self, utterance: int, attempt: int, delay_s: float | None = None) -> None:
        """Make audio of what was said since."""
        sound = self._sounds[utterance]
        words = sound.text.split()[sound.said :]
        if not words or not (self.tts_works or delay_s == 0.0):
            return
        start = sound.said * WORD_MS
        sound.said += len(words)
        timed = tuple(
            ev.TimedWord(word, start + i * WORD_MS, start + (i + 1) * WORD_MS)
            for i, word in enumerate(words)
        )
        delay_s = self.tts_delay_s if delay_s is None else delay_s
        self._after(delay_s, ev.WordsTimed(utterance, attempt, timed))
        self._after(delay_s, ev.AudioCame(utterance, attempt, len(words) * WORD_MS))

    def _play_frame(self) -> None:
        for utterance, sound in self._sounds.items():  # what has come since
            found = self.dialogue.saying.find(utterance)
            if found is not None and found.audio_ms > sound.audio_ms:
                sound.unsent_ms += found.audio_ms - sound.audio_ms
                sound.audio_ms = found.audio_ms
        if self._paused:
            return
        left = FRAME_S * 1000
        while self._line and left > 0:
            utterance = self._line[0]
            sound = self._sounds[utterance]
            if sound.unsent_ms > 0:  # the line takes frame by frame, as a full one does
                taken = min(left, sound.unsent_ms)
                sound.unsent_ms -= taken
                sound.sent_ms += taken
                left -= taken
                self.heard.append((self.now, utterance))
                self.tell(ev.AudioSent(utterance, taken))
            elif sound.complete:
                self._line.pop(0)
                if self.marks_work:
                    self._after(FRAME_S, ev.Heard(utterance, sound.sent_ms, end=True))
            else:
                return
