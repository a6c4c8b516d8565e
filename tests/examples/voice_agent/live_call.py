"""A whole call in real time over the loopback: real services, a scripted language model."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.conversation import Conversation
from examples.voice_agent.endpoints import SpeechServices
from examples.voice_agent.llm import OpenAiLanguageModel
from examples.voice_agent.loopback import TELEPHONE, LoopbackTransport
from examples.voice_agent.phrases import PhraseBook
from examples.voice_agent.ports import (
    AgentTurn,
    CallEnded,
    CallerTurn,
    EndCall,
    Entry,
    Happened,
    Outcome,
    ToolCall,
    ToolContext,
    ToolResult,
    ToolSpec,
    TransferCall,
)
from examples.voice_agent.transport import CallInfo
from services.shared.audio.pcm import AudioFormat, Floats

INFO = CallInfo("call-1", "100", "200")
GREETING = "Hi."
QUICK = {"turn": {"mode": "silence", "silence_ms": 400}}


def agent(llm_url: str, **sections: object) -> AgentConfig:
    """An agent for calls in tones."""
    fields: dict[str, object] = {
        "name": "test",
        "prompt": "Be brief.",
        "greeting": GREETING,
        "llm": {"base_url": llm_url, "model": "scripted"},
        "hearing": QUICK,
        **sections,
    }
    return AgentConfig.model_validate(fields)


@dataclass
class Ledger:
    """A journal in memory."""

    entries: list[Entry] = field(default_factory=list)

    def write(self, entry: Entry) -> None:
        self.entries.append(entry)

    def agent_turns(self, kind: str = "answer") -> list[AgentTurn]:
        return [e for e in self.entries if isinstance(e, AgentTurn) and e.kind == kind]

    @property
    def caller_turns(self) -> list[str]:
        return [e.text for e in self.entries if isinstance(e, CallerTurn)]

    @property
    def happenings(self) -> list[str]:
        return [e.what for e in self.entries if isinstance(e, Happened)]

    @property
    def ended(self) -> CallEnded | None:
        return next((e for e in self.entries if isinstance(e, CallEnded)), None)


@dataclass
class Tracks:
    """A recording in memory."""

    caller_bytes: int = 0
    agent_pieces: list[tuple[float, bytes]] = field(default_factory=list)

    def caller(self, data: bytes, at_s: float) -> None:
        self.caller_bytes += len(data)

    def agent(self, data: bytes, at_s: float) -> None:
        self.agent_pieces.append((at_s, data))


class SmallToolBox:
    """Ends and transfers calls, and looks things up."""

    specs: Sequence[ToolSpec] = (
        ToolSpec("end_call", "hang up", {"type": "object", "properties": {}}),
        ToolSpec("transfer_call", "transfer", {"type": "object", "properties": {}}),
        ToolSpec("lookup", "read", {"type": "object", "properties": {}}, side_effects=False),
    )

    async def run(self, call: ToolCall, context: ToolContext) -> ToolResult:
        match call.name:
            case "end_call":
                return ToolResult("ok", action=EndCall())
            case "transfer_call":
                return ToolResult("ok", action=TransferCall("700"))
            case _:
                await asyncio.sleep(0.1)
                return ToolResult(f"balance of {context.call.caller}: 150")


@dataclass
class LiveCall:
    line: LoopbackTransport
    ledger: Ledger
    tracks: Tracks
    running: asyncio.Task[Outcome]

    async def until(self, what: str, reached: object, limit_s: float = 20.0) -> None:
        assert callable(reached)
        end = time.monotonic() + limit_s
        while not reached():
            assert time.monotonic() < end, f"{what}: not within {limit_s} s; {self.ledger.entries}"
            assert not self.running.done() or reached(), f"{what}: the call is over"
            await asyncio.sleep(0.01)

    async def agent_said(self, kind: str, count: int = 1) -> AgentTurn:
        """Wait for the end of the agent's `count`th turn of this kind."""
        await self.until(f"{kind} {count}", lambda: len(self.ledger.agent_turns(kind)) >= count)
        return self.ledger.agent_turns(kind)[count - 1]

    async def agent_begins(self) -> float:
        """Wait for sound of the agent; gives its time."""
        start = len(self.line.agent)
        await self.until("sound", lambda: self.loud(start))
        return time.monotonic()

    def loud(self, start: int) -> bool:
        samples = TELEPHONE.decode(bytes(self.line.agent[start:]))
        return bool(len(samples)) and float(np.abs(samples).max()) > 0.02

    async def outcome(self, limit_s: float = 20.0) -> Outcome:
        async with asyncio.timeout(limit_s):
            return await self.running

    def onsets(self) -> tuple[Floats, Floats]:
        """Caller's and agent's samples, for measuring."""
        return TELEPHONE.decode(bytes(self.line.caller)), TELEPHONE.decode(bytes(self.line.agent))


@asynccontextmanager
async def calling(
    config: AgentConfig,
    asr_url: str,
    tts_url: str,
    *,
    phrases: PhraseBook | None = None,
    audio_format: AudioFormat = TELEPHONE,
    info: CallInfo = INFO,
    asr_key: str | None = None,
    tts_key: str | None = None,
) -> AsyncIterator[LiveCall]:
    """Place a call; the caller hangs up at the end if nobody else has."""
    line = LoopbackTransport(info, audio_format)
    ledger, tracks = Ledger(), Tracks()
    async with OpenAiLanguageModel(config.llm) as model, asyncio.TaskGroup() as tasks:
        conversation = Conversation(
            config,
            line,
            SpeechServices(asr_url, tts_url, asr_key, tts_key),
            phrases or PhraseBook(tts_url, tts_key),
            model,
            SmallToolBox(),
            ledger,
            tracks,
        )
        tasks.create_task(line.run())
        running = tasks.create_task(conversation.run())
        yield LiveCall(line, ledger, tracks, running)
        line.caller_hangs_up()
        async with asyncio.timeout(20.0):
            await running


def tone(seconds: float, hertz: float = 400.0) -> bytes:
    """What the tone services take for speech: "w4" every 200 ms."""
    t = np.arange(round(seconds * TELEPHONE.sample_rate)) / TELEPHONE.sample_rate
    return TELEPHONE.encode((0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32))
