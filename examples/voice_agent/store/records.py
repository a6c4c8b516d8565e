"""Journal entries → rows of tables, in values that JSON has, too. Pure.

Writing a row twice changes nothing: inserts have the entry's number in their key, updates set what
does not change any more. So a batch whose fate is unknown is simply written again.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

from examples.voice_agent.ports import (
    AgentTurn,
    CallAnswered,
    CallBegan,
    CallEnded,
    CallerTurn,
    Entry,
    Happened,
    ToolRan,
    TurnTimes,
    UsageNoted,
)
from examples.voice_agent.store.config import Prices
from examples.voice_agent.store.costs import asr_cost, llm_cost, tts_cost

_MAX_TEXT = 100_000
_MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One insert, or one update of the conversation `values["id"]`. Dates are Unix seconds."""

    table: str
    values: dict[str, Any]
    update: bool = False


@dataclass(frozen=True, slots=True)
class CallContext:
    """What the store knows of a call that the conversation does not."""

    conversation_id: str
    instance: str
    agent_version_id: int | None = None
    route_id: int | None = None
    consent: str | None = None
    recording: str | None = None


@dataclass(slots=True)
class CallRecords:
    """Makes the rows of one call."""

    context: CallContext
    prices: Prices
    began_s: float = 0.0
    unix_s: float = 0.0

    def rows(self, seq: int, entry: Entry) -> list[Row]:
        """The rows of the call's entry number `seq`."""
        match entry:
            case CallBegan():
                return [self._began(entry)]
            case CallAnswered():
                return [self.update(answered_at=self._unix(entry.at_s))]
            case CallerTurn():
                return [self._row("turns", seq, entry.at_s, self._caller_turn(entry))]
            case AgentTurn():
                return [self._row("turns", seq, entry.at_s, self._agent_turn(entry))]
            case ToolRan():
                return [self._row("tool_calls", seq, entry.at_s, _tool(entry))]
            case UsageNoted():
                return [self._row("usage", seq, entry.at_s, self._llm(entry))]
            case Happened():
                values = {"what": entry.what, "data": dict(entry.data)}
                return [self._row("events", seq, entry.at_s, values)]
            case CallEnded():
                return self._ended(seq, entry)

    def update(self, **values: Any) -> Row:
        """Something else of the conversation that became known."""
        return Row("conversations", _clean({"id": self.context.conversation_id, **values}), True)

    def _began(self, entry: CallBegan) -> Row:
        self.began_s, self.unix_s = entry.at_s, entry.unix_s
        info, context = entry.info, self.context
        values = {
            "id": context.conversation_id,
            "instance": context.instance,
            "call_id": info.call_id,
            "caller": info.caller,
            "called": info.called,
            "variables": info.variables,
            "agent": entry.agent,
            "agent_version_id": context.agent_version_id,
            "route_id": context.route_id,
            "language": entry.language,
            "started_at": entry.unix_s,
            "consent": context.consent,
            "recording": context.recording,
            "currency": self.prices.currency,
        }
        return Row("conversations", _clean(values))

    def _ended(self, seq: int, entry: CallEnded) -> list[Row]:
        audio_ms = round(entry.asr_audio_s * 1000)
        asr = _usage("asr", asr_cost(self.prices, audio_ms), audio_ms=audio_ms)
        tts = _usage(
            "tts", tts_cost(self.prices, entry.tts_characters), characters=entry.tts_characters
        )
        ended = self.update(
            ended_at=self._unix(entry.at_s),
            outcome=str(entry.outcome),
            cause=entry.cause,
            ended_by_caller=entry.by_caller,
        )
        return [ended, *(self._row("usage", seq, entry.at_s, each) for each in (asr, tts))]

    def _caller_turn(self, entry: CallerTurn) -> dict[str, Any]:
        return {
            "turn": entry.turn,
            "role": "caller",
            "kind": "keys" if entry.by_keys else "speech",
            "text_generated": entry.text,
            "text_spoken": entry.text,
            "confidence": entry.confidence,
            "language": entry.language,
            "interrupted_at_ms": None,
            "speculation": None,
            **self._times(TurnTimes()),
        }

    def _agent_turn(self, entry: AgentTurn) -> dict[str, Any]:
        return {
            "turn": entry.turn,
            "role": "agent",
            "kind": entry.kind[:32],
            "text_generated": entry.generated,
            "text_spoken": entry.spoken,
            "confidence": None,
            "language": None,
            "interrupted_at_ms": entry.interrupted_at_ms,
            "speculation": str(entry.speculation),
            **self._times(entry.times),
        }

    def _llm(self, entry: UsageNoted) -> dict[str, Any]:
        used = entry.usage
        return _usage(
            "llm",
            llm_cost(self.prices, entry.model, used),
            model=entry.model,
            prompt_tokens=used.prompt_tokens,
            cached_tokens=used.cached_tokens,
            completion_tokens=used.completion_tokens,
        )

    def _times(self, times: TurnTimes) -> dict[str, int | None]:
        """`speech_end_s` → `speech_end_ms`, from the conversation's beginning."""
        found = {each.name: getattr(times, each.name) for each in fields(times)}
        return {
            f"{name.removesuffix('_s')}_ms": None if at is None else self._ms(at)
            for name, at in found.items()
        }

    def _row(self, table: str, seq: int, at_s: float, values: dict[str, Any]) -> Row:
        key = {"conversation_id": self.context.conversation_id, "seq": seq}
        return Row(table, _clean({**key, "at_ms": self._ms(at_s), **values}))

    def _ms(self, at_s: float) -> int:
        return round((at_s - self.began_s) * 1000)

    def _unix(self, at_s: float) -> float:
        return self.unix_s + at_s - self.began_s


def _tool(entry: ToolRan) -> dict[str, Any]:
    action = entry.result.action
    told = None if action is None else {"action": type(action).__name__, **asdict(action)}
    return {
        "turn": entry.turn,
        "call_id": entry.call.call_id,
        "name": entry.call.name,
        "arguments": dict(entry.call.arguments),
        "ok": entry.result.ok,
        "content": entry.result.content,
        "action": told,
        "duration_ms": round(entry.duration_s * 1000),
    }


def _usage(what: str, cost: Decimal, **used: str | int) -> dict[str, Any]:
    names = ("model", "prompt_tokens", "cached_tokens", "completion_tokens", "audio_ms")
    empty = dict.fromkeys((*names, "characters"))
    return {"what": what, "cost": str(cost), **empty, **used}


def _clean(value: Any, depth: int = 0) -> Any:
    """What both JSON and PostgreSQL take: no NUL, no lone surrogates, no NaN, nothing endless."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        short = value[:_MAX_TEXT].replace("\0", "")
        return short.encode("utf-8", "replace").decode("utf-8")
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {_clean(str(key)): _clean(each, depth + 1) for key, each in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_clean(each, depth + 1) for each in value]
    return _clean(str(value))
