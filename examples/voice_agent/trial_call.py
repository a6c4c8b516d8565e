"""One call without a telephone through the real services: what was heard, what said, how long."""

import asyncio
import io
import wave
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.conversation import Conversation
from examples.voice_agent.endpoints import SpeechServices
from examples.voice_agent.hearing import words_of
from examples.voice_agent.llm import OpenAiLanguageModel
from examples.voice_agent.loopback import TELEPHONE, LoopbackTransport
from examples.voice_agent.phrases import PhraseBook
from examples.voice_agent.ports import AgentTurn, CallEnded, CallerTurn, Entry, Happened, TurnTimes
from examples.voice_agent.sentences import Sentence
from examples.voice_agent.tools.toolbox import PluginToolBox
from examples.voice_agent.transport import CallInfo
from services.shared.audio.pcm import AudioFormat, Encoding

_QUESTIONS = {
    "en": "Hello, I would like to know when you are open tomorrow.",
    "vi": "Xin chào, cho tôi hỏi ngày mai mấy giờ mở cửa?",
}
_GREETING_S = 20.0
_ANSWER_S = 30.0
_LOUD = 0.02
_TROUBLE = ("gave_up", "llm_failed", "tts_failed", "asr_lost", "answer_lost")


@dataclass(frozen=True, slots=True)
class TrialCall:
    """What came of it. Durations are seconds."""

    asked: str
    """What the caller said."""
    heard: str = ""
    said: str = ""
    answer_s: float | None = None
    """From the caller's last sound to the answer's first, off the recording."""
    stages: dict[str, float] = field(default_factory=dict)
    """How long each stage took, one after the other."""
    problem: str | None = None

    @property
    def understood(self) -> float:
        """The share of the caller's words that were heard."""
        asked, heard = words_of(self.asked), set(words_of(self.heard))
        return sum(word in heard for word in asked) / max(1, len(asked))


@dataclass
class _Notes:
    """A journal in memory."""

    entries: list[Entry] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.news.set()

    def answers(self, *others: str) -> list[AgentTurn]:
        """What the agent answered, or what it said of these other kinds."""
        turns = [each for each in self.entries if isinstance(each, AgentTurn)]
        return [turn for turn in turns if turn.kind in ("answer", *others)]

    def has(self, *kinds: type) -> bool:
        return any(isinstance(entry, kinds) for entry in self.entries)

    async def until(self, reached: Callable[[], bool], limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not (reached() or self.has(CallEnded)):
                    self.news.clear()
                    await self.news.wait()

    def trouble(self) -> str:
        for entry in self.entries:
            if isinstance(entry, Happened) and entry.what in _TROUBLE:
                return f"{entry.what}: {entry.data.get('reason')}"
        return "nothing was said in time"


async def place_trial_call(config: AgentConfig, services: SpeechServices) -> TrialCall:
    """Ask the agent a question, without its tools; nothing is stored.

    Raises:
        ServiceError: the question cannot be spoken.
    """
    phrases, notes = PhraseBook(services.tts_url, services.tts_key), _Notes()
    asked, question = await _question(config, phrases)
    line = LoopbackTransport(CallInfo("trial", "doctor", "trial"))
    config = config.model_copy(update={"tools": (), "tool_settings": {}})
    async with OpenAiLanguageModel(config.llm) as model, asyncio.TaskGroup() as tasks:
        tools = PluginToolBox([])
        talk = Conversation(config, line, services, phrases, model, tools, notes)
        tasks.create_task(line.run())
        talking = tasks.create_task(talk.run())
        silent = not config.language_pack().sentences.get(Sentence.GREETING)
        await notes.until(lambda: silent or notes.has(AgentTurn), _GREETING_S)
        line.say(question)
        await notes.until(lambda: bool(notes.answers("apology")), _ANSWER_S)
        line.caller_hangs_up()
        await talking
    heard = " ".join(each.text for each in notes.entries if isinstance(each, CallerTurn))
    answers = notes.answers()
    if not answers or not answers[0].spoken:
        return TrialCall(asked, heard, problem=notes.trouble())
    answer = answers[0]
    return TrialCall(asked, heard, answer.spoken, _answer_s(line), _stages(answer.times))


async def _question(config: AgentConfig, phrases: PhraseBook) -> tuple[str, bytes]:
    """Its words, and its sound on a telephone: recorded in English, else in the agent's voice."""
    language = config.language.split("-")[0].casefold()
    greeting = config.language_pack().sentences.get(Sentence.GREETING, "")
    text = _QUESTIONS.get(language, greeting)
    recorded = files("examples.voice_agent") / "recordings" / f"question-{language}.wav"
    if recorded.is_file():
        return text, await asyncio.to_thread(lambda: _telephone(recorded.read_bytes()))
    await phrases.render(config, TELEPHONE, [text])
    phrase = phrases.find(config, TELEPHONE, text)
    return text, phrase.audio if phrase else b""


def _telephone(recording: bytes) -> bytes:
    """A WAV file of 16 bits at 8 kHz as the telephone has it."""
    with wave.open(io.BytesIO(recording)) as file:
        samples = file.readframes(file.getnframes())
    return TELEPHONE.encode(AudioFormat(Encoding.PCM_S16LE, 8000).decode(samples))


def _answer_s(line: LoopbackTransport) -> float | None:
    caller, agent = (TELEPHONE.decode(bytes(side)) for side in (line.caller, line.agent))
    spoken = np.flatnonzero(np.abs(caller) > _LOUD)
    if not len(spoken):
        return None
    answered = np.flatnonzero(np.abs(agent[spoken[-1] :]) > _LOUD)
    return float(answered[0]) / TELEPHONE.sample_rate if len(answered) else None


def _stages(times: TurnTimes) -> dict[str, float]:
    """Each from the end of the one before; what was done ahead of time took nothing."""
    moments = {
        "recognised": times.asr_final_s,
        "first word": times.llm_first_s,
        "first sound": times.tts_first_s,
        "sent": times.wire_first_s,
    }
    stages: dict[str, float] = {}
    last = times.speech_end_s
    for name, at in moments.items():
        if at is not None and last is not None:
            stages[name] = max(0.0, at - last)
            last = max(last, at)
    return stages
