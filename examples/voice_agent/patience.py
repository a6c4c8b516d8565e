"""What is done when nothing happens: fillers, prompts, limits. Sans I/O.

Each rule says when it is due, from how things are now, and what is done then; nothing is scheduled,
so nothing has to be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from examples.voice_agent.ports import Outcome
from examples.voice_agent.sentences import Sentence

if TYPE_CHECKING:
    from examples.voice_agent.answer import Answer
    from examples.voice_agent.dialogue import Dialogue

_ROUNDS = 8
"""More deadlines than rules cannot be due at one time."""

Rule = tuple[float, Callable[[float], None]]


class Patience:
    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._config = dialogue.config
        self._answered_s: float | None = None
        self._warned = False
        self._quiet_since = 0.0
        self._prompts = 0
        self._keys = ""
        self._keys_at = 0.0
        self._lost_at: float | None = None
        self._told_lost = False

    # What it is told.

    def answered(self, now: float) -> None:
        self._answered_s = self._quiet_since = now

    def quiet_since(self, now: float) -> None:
        self._quiet_since = now

    def caller_is_there(self, now: float) -> None:
        self._quiet_since = now

    def caller_took_turn(self) -> None:
        self._prompts = 0

    def key(self, now: float, digit: str) -> None:
        self._quiet_since = now
        self._prompts = 0
        self._keys_at = now
        if digit == "#":
            self._keys_done(now)
        else:
            self._keys += digit

    def hearing_lost(self, now: float, reason: str) -> None:
        self._dialogue.notes.happened(now, "asr_lost", reason=reason)
        if self._lost_at is None:
            self._lost_at = now

    def hearing_back(self, now: float) -> None:
        if self._lost_at is None:
            return
        away_ms = round((now - self._lost_at) * 1000)
        self._dialogue.notes.happened(now, "asr_back", away_ms=away_ms)
        self._lost_at = None
        self._quiet_since = now
        if self._told_lost and not self._dialogue.ending.planned:
            self._dialogue.say_sentence(now, Sentence.HEAR_AGAIN)
        self._told_lost = False

    # What follows.

    def act(self, now: float) -> None:
        """Do what is due."""
        for _ in range(_ROUNDS):
            due = [rule for rule in self._rules(now) if rule[0] <= now]
            if not due or self._dialogue.ending.over:
                return
            min(due, key=lambda rule: rule[0])[1](now)

    def next_deadline(self, now: float) -> float | None:
        return min((at for at, _ in self._rules(now)), default=None)

    def _rules(self, now: float) -> Iterator[Rule]:
        dialogue = self._dialogue
        barge = dialogue.turn.barge
        if barge is not None and barge.paused:
            yield barge.decided_by_s(self._config.barge), dialogue.barge_undecided
        if self._keys:
            yield self._keys_at + self._config.patience.keys_s, self._keys_done
        if dialogue.ending.deadline is not None:
            yield dialogue.ending.deadline, self._closing_takes_too_long
        yield from self._unconfirmed(now)
        if self._answered_s is None or dialogue.ending.planned:
            return
        yield from self._call_rules(now, self._answered_s)
        yield from self._hearing_rules()
        answer = dialogue.answering.answer
        if answer is not None and answer.released:
            yield from self._owing_rules(now, answer)
        elif not dialogue.has_floor and not dialogue.turn.speaking and not self._keys:
            yield self._quiet_since + self._config.patience.silence_prompt_s, self._nobody_speaks

    # The caller is owed an answer.

    def _owing_rules(self, now: float, answer: Answer) -> Iterator[Rule]:
        dialogue, patience = self._dialogue, self._config.patience
        if dialogue.saying.playback.paused or dialogue.turn.has_floor:
            return
        utterance = answer.utterance
        if utterance.complete and utterance.sent_ms >= utterance.audio_ms:
            return  # only its last mark is missing
        since = max(answer.owed_since, dialogue.saying.silent_from(now))
        if answer.fillers >= patience.fillers:
            yield since + patience.dead_air_s, self._answer_takes_too_long
            return
        wait = patience.dead_air_s if answer.fillers else patience.filler_after_s
        running = [answer.step.started[call.call_id] for call in answer.step.running]
        if running and not answer.fillers:
            tool_since = max(since, min(running))
            wait = min(since + wait, tool_since + patience.tool_filler_after_s) - since
        yield since + wait, self._fill

    def _fill(self, now: float) -> None:
        answer = self._dialogue.answering.answer
        assert answer is not None
        sentence = Sentence.STILL_WORKING if answer.fillers else Sentence.FILLER
        answer.fillers += 1
        answer.owed_since = now
        self._dialogue.notes.happened(now, "filler", sentence=sentence.value)
        self._dialogue.say_sentence(now, sentence, first=True)

    def _answer_takes_too_long(self, now: float) -> None:
        self._dialogue.answer_lost(now, "the answer takes too long")

    def _unconfirmed(self, now: float) -> Iterator[Rule]:
        """All of an utterance must have been heard, but its last mark does not come."""
        saying = self._dialogue.saying
        if not saying.queue or saying.playback.paused:
            return
        first = saying.queue[0]
        answer = self._dialogue.answering.answer
        if first.complete and first.sent_ms >= first.audio_ms:
            at = max(saying.silent_from(now), first.complete_s) + self._config.limits.mark_grace_s
            yield at, self._believe_heard
        elif answer is None or answer.utterance is not first:
            at = max(saying.silent_from(now), first.released_s) + self._config.patience.dead_air_s
            yield at, self._believe_stuck

    def _believe_heard(self, now: float) -> None:
        saying = self._dialogue.saying
        utterance = saying.queue[0]
        self._dialogue.notes.happened(now, "mark_missing", utterance=utterance.id)
        self._dialogue.heard_all(now, saying.finish(now, utterance))

    def _believe_stuck(self, now: float) -> None:
        """Nobody waits for its audio any more: the caller would hear nothing for ever."""
        saying = self._dialogue.saying
        utterance = saying.queue[0]
        self._dialogue.notes.happened(now, "speech_stuck", utterance=utterance.id)
        if utterance.complete:
            self._dialogue.heard_all(now, saying.finish(now, utterance))
        else:
            saying.cut_off(now, utterance)

    # Nobody says anything.

    def _nobody_speaks(self, now: float) -> None:
        self._quiet_since = now
        if self._prompts < self._config.patience.silence_prompts:
            self._prompts += 1
            self._dialogue.say_sentence(now, Sentence.SILENCE_PROMPT)
        else:
            self._dialogue.say_sentence(now, Sentence.SILENCE_GOODBYE)
            self._dialogue.ending.hang_up(now, Outcome.SILENCE, "silence")

    def _keys_done(self, now: float) -> None:
        digits, self._keys = self._keys, ""
        self._dialogue.keys_entered(now, digits)

    # The call as a whole.

    def _call_rules(self, now: float, answered_s: float) -> Iterator[Rule]:
        limits = self._config.limits
        end = answered_s + limits.call_s
        yield end, self._time_is_up
        quiet = not self._dialogue.has_floor and not self._dialogue.turn.speaking
        if not self._warned and quiet and limits.call_s >= 2 * limits.warning_s:
            yield end - limits.warning_s, self._warn

    def _warn(self, now: float) -> None:
        self._warned = True
        self._dialogue.say_sentence(now, Sentence.TIME_WARNING)

    def _time_is_up(self, now: float) -> None:
        self._dialogue.silence(now)
        self._dialogue.say_sentence(now, Sentence.TIME_UP)
        self._dialogue.ending.hang_up(now, Outcome.TOO_LONG, "too_long", final=True)

    def _closing_takes_too_long(self, now: float) -> None:
        self._dialogue.ending.carry_out(now, agent_speaks=False)

    def _hearing_rules(self) -> Iterator[Rule]:
        if self._lost_at is None:
            return
        yield self._lost_at + self._config.limits.asr_away_s, self._stays_deaf
        dialogue = self._dialogue
        if dialogue.has_floor:
            return
        if not self._told_lost:
            yield self._lost_at, self._tell_lost
        else:
            at = dialogue.saying.playback.dry_at + self._config.patience.dead_air_s
            yield at, self._tell_still_lost

    def _tell_lost(self, now: float) -> None:
        self._told_lost = True
        self._dialogue.say_sentence(now, Sentence.CANNOT_HEAR)

    def _tell_still_lost(self, now: float) -> None:
        self._dialogue.say_sentence(now, Sentence.STILL_WORKING)

    def _stays_deaf(self, now: float) -> None:
        self._dialogue.give_up_call(now, "the ASR service stays away")
