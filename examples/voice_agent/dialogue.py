"""The conversation of one call as a state machine: events with their times in, commands out.

Sans I/O: it knows no clock, task or socket. Who has the floor is decided here; what the agent says
is :mod:`.saying`'s business, how answers come about that of :mod:`.answering`, what is done when
nothing happens that of :mod:`.patience`, and how a call ends that of :mod:`.ending`.
"""

from collections import deque
from collections.abc import Sequence

from examples.voice_agent import events as ev
from examples.voice_agent.answering import Answering, AnswerLost
from examples.voice_agent.call_notes import CallNotes
from examples.voice_agent.caller import Barge, OpenTurn
from examples.voice_agent.commands import Command
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.ending import Ending
from examples.voice_agent.hearing import Hearing, Judged, Verdict, same_words
from examples.voice_agent.history import AgentItem, CallerItem, History
from examples.voice_agent.patience import Patience
from examples.voice_agent.ports import (
    CallAnswered,
    CallBegan,
    EndCall,
    Outcome,
    Speculation,
    ToolRan,
    ToolSpec,
    TransferCall,
    UsageNoted,
)
from examples.voice_agent.saying import ANSWER, Saying
from examples.voice_agent.sentences import Sentence
from examples.voice_agent.transport import CallInfo
from examples.voice_agent.utterance import Utterance

_REMEMBERED = {Sentence.GREETING, Sentence.SILENCE_PROMPT, Sentence.TIME_WARNING}
"""Sentences that the language model should know of; the others are none of its business."""
_ECHO_TAIL_S = 0.6
"""An onset so soon after the agent's last sound may be its echo."""


class Dialogue:
    """One call. After :meth:`begin`, every event gives commands, to be carried out in order."""

    def __init__(self, config: AgentConfig, info: CallInfo, tools: Sequence[ToolSpec] = ()) -> None:
        pack = config.language_pack()
        self._commands: list[Command] = []
        out = self._commands.append
        self._config = config
        self._info = info
        self._keys_text = pack.keys
        self._hearing = Hearing(
            pack.backchannels,
            pack.stop_words,
            echo_overlap=config.barge.echo_overlap,
            echo_window_s=config.barge.echo_window_s,
        )
        self.history = History(config.prompt, config.limits.history_messages)
        self.notes = CallNotes(out)
        self.saying = Saying(out, pack.sentences, self._hearing)
        self.answering = Answering(out, config, tools, self.history, self.saying)
        self.ending = Ending(out, config, self.notes, self.saying, goes_on=info.goes_on)
        self.turn = OpenTurn()
        """The one that is being spoken, or a new one."""
        self._unfinished: deque[OpenTurn] = deque()
        """Earlier ones whose last final is still on its way."""
        self.failures = 0
        """Answers in a row that could not be had."""
        self._tool_started: dict[str, float] = {}
        self._false_barges = 0
        self._patience = Patience(self)

    @property
    def config(self) -> AgentConfig:
        return self._config

    def begin(self, now: float, unix_s: float) -> list[Command]:
        """The call is ringing."""
        config = self._config
        self.notes.write(CallBegan(now, unix_s, self._info, config.name, config.language))
        return self._taken()

    def handle(self, now: float, event: ev.Event) -> list[Command]:
        """What is to be done about an event, or because time has passed."""
        if not self.ending.over:
            self._dispatch(now, event)
        if not self.ending.over:
            self._patience.act(now)
            self._settle(now)
        return self._taken()

    def deadline(self, now: float) -> float | None:
        """When a :class:`.Tick` is due if nothing else happens."""
        return None if self.ending.over else self._patience.next_deadline(now)

    def _taken(self) -> list[Command]:
        commands = self._commands[:]
        self._commands.clear()
        return commands

    def _dispatch(self, now: float, event: ev.Event) -> None:
        match event:
            case ev.Answered():
                self._answered(now)
            case ev.KeyPressed(digit):
                self._key(now, digit)
            case ev.Gone(cause, by_caller):
                self._gone(now, cause, by_caller=by_caller)
            case ev.TransferFailed(reason):
                self.ending.transfer_failed(now, reason)
            case ev.Broken(reason):
                self.give_up_call(now, reason)
            case ev.HearingReplaced():
                self.notes.happened(now, "asr_replaced")
                self._forget_open_turns(now)
            case ev.HearingLost(reason):
                self._forget_open_turns(now)
                self._patience.hearing_lost(now, reason)
            case ev.HearingBack():
                self._patience.hearing_back(now)
            case ev.Tick():
                pass
            case _:
                self._dispatch_speech(now, event)

    def _dispatch_speech(self, now: float, event: ev.Event) -> None:
        match event:
            case ev.SpeechBegan():
                self._speech_began(now)
            case ev.PartialHeard(text):
                self._partial(now, text)
            case ev.PendingHeard(text):
                self._pending(now, text)
            case ev.SpeechResumed():
                self._speech_resumed(now)
            case ev.FinalHeard():
                self._final(now, event)
            case ev.WordsTimed():
                self.saying.on_words(event)
            case ev.AudioCame():
                self.saying.on_audio(now, event)
            case ev.AudioComplete():
                self.saying.on_complete(now, event)
            case ev.SpeechFailed():
                self._speech_failed(now, event)
            case ev.AudioSent():
                if dry_s := self.saying.on_sent(now, event):
                    self.notes.happened(now, "ran_dry", ms=round(dry_s * 1000))
            case ev.Heard():
                if utterance := self.saying.on_heard(now, event):
                    self.heard_all(now, utterance)
            case _:
                self._dispatch_answer(now, event)

    def _dispatch_answer(self, now: float, event: ev.Event) -> None:
        try:
            match event:
                case ev.AnswerText():
                    self.answering.on_text(now, event)
                case ev.AnswerCall():
                    self.answering.on_call(now, event)
                case ev.AnswerDone():
                    self._note_usage(now, event)
                    self.answering.on_done(now, event)
                case ev.AnswerFailed(request, reason, retryable):
                    self.notes.happened(now, "llm_failed", request=request, reason=reason)
                    self.answering.on_failed(now, request, reason, retryable=retryable)
                case ev.ToolFinished():
                    self._tool_finished(now, event)
        except AnswerLost as lost:
            self.answer_lost(now, str(lost))

    # The call.

    def _answered(self, now: float) -> None:
        self.notes.write(CallAnswered(now))
        self.ending.answered = True
        self._patience.answered(now)
        self.say_sentence(now, Sentence.GREETING)

    def _gone(self, now: float, cause: str, *, by_caller: bool) -> None:
        for utterance, heard_ms in self.saying.silence(now):
            self.notes.agent(now, utterance, heard_ms)
        self.answering.drop()
        self.ending.gone(now, cause, by_caller=by_caller)

    def _key(self, now: float, digit: str) -> None:
        self.notes.happened(now, "key", digit=digit)
        if self.ending.final:
            return
        if self._config.barge.keys and self.has_floor:
            self._interrupt(now, "key")
        self._patience.key(now, digit)

    def keys_entered(self, now: float, digits: str) -> None:
        """The caller has pressed all keys that belong together."""
        if digits:
            self._caller_said(now, self._keys_text.format(digits=digits), by_keys=True)

    def say_sentence(
        self, now: float, sentence: Sentence, *, first: bool = False
    ) -> Utterance | None:
        """Say it after all else, or as soon as possible."""
        utterance = self.saying.sentence(now, sentence, first=first)
        if utterance is not None and sentence in _REMEMBERED:
            self.history.add([AgentItem(utterance)])
        return utterance

    def give_up_call(self, now: float, reason: str) -> None:
        """Somebody else has to go on with this call, if there is anybody."""
        if self.ending.final:
            return
        self.notes.happened(now, "gave_up", reason=reason)
        self.silence(now)
        self.ending.fall_back(now)

    def _settle(self, now: float) -> None:
        """What follows from where things are, whatever led there."""
        answer = self.answering.answer
        if answer is not None and answer.released and answer.written:
            if isinstance(answer.action, EndCall):
                self._close_with(now, Sentence.GOODBYE, answer.utterance)
                self.ending.hang_up(now, Outcome.AGENT_ENDED, "agent_ended")
            elif isinstance(answer.action, TransferCall):
                self._close_with(now, Sentence.TRANSFERRING, answer.utterance)
                self.ending.transfer(now, Outcome.TRANSFERRED, answer.action.target)
            if answer.action is not None or not answer.utterance.released:
                self.answering.answer = None
        self.ending.carry_out(now, agent_speaks=self.has_floor)

    def _close_with(self, now: float, sentence: Sentence, utterance: Utterance) -> None:
        """The model's own last words, or ours."""
        if not utterance.text.strip():
            self.say_sentence(now, sentence)
        self.notes.happened(now, sentence.value)

    # The agent's part.

    @property
    def has_floor(self) -> bool:
        """The agent speaks, or is about to."""
        answer = self.answering.answer
        return bool(self.saying.queue) or (answer is not None and answer.released)

    def heard_all(self, now: float, utterance: Utterance) -> None:
        """The caller has heard an utterance to its end."""
        self.notes.agent(now, utterance, None)
        self._patience.quiet_since(now)
        answer = self.answering.answer
        if answer is not None and answer.utterance is utterance:
            self.answering.answer = None
            self.failures = 0

    def silence(self, now: float) -> None:
        """Stop speaking and answering; the history keeps what was heard."""
        for utterance, heard_ms in self.saying.silence(now):
            self.notes.agent(now, utterance, heard_ms)
        self.answering.drop()
        self.turn.barge = None

    def answer_lost(self, now: float, reason: str) -> None:
        """There will be no answer, or no more of it."""
        self.notes.happened(now, "answer_lost", reason=reason)
        answer = self.answering.answer
        if answer is None:
            return
        if answer.utterance.released and not answer.utterance.complete:
            self.saying.cut_off(now, answer.utterance)
        self.answering.drop()
        if not answer.released:
            return  # the turn is not over: there will be another
        self.failures += 1
        if self.failures >= self._config.limits.failures:
            self.give_up_call(now, reason)
        else:
            self.say_sentence(now, Sentence.APOLOGY)

    def _speech_failed(self, now: float, event: ev.SpeechFailed) -> None:
        utterance = self.saying.find(event.utterance, event.attempt)
        if utterance is None:
            return
        self.notes.happened(now, "tts_failed", reason=event.reason, utterance=utterance.id)
        answer = self.answering.answer
        current = answer is not None and answer.utterance is utterance
        if utterance.kind != ANSWER:
            self.saying.cut_off(now, utterance)
        elif utterance.attempt < self._config.limits.tts_retries:
            self.saying.begin_again(utterance)
        elif utterance.released:
            self.saying.cut_off(now, utterance)
            if current:
                self.answer_lost(now, event.reason)
        elif current:
            self.answering.drop()

    def _tool_finished(self, now: float, event: ev.ToolFinished) -> None:
        answer = self.answering.answer
        started = answer.step.started.get(event.call_id, now) if answer else now
        call = self.answering.on_tool(now, event)
        if call is not None:
            self.notes.write(ToolRan(now, self.notes.turn, call, event.result, now - started))

    def _note_usage(self, now: float, event: ev.AnswerDone) -> None:
        if event.usage is not None:
            self.notes.write(UsageNoted(now, self._config.llm.model, event.usage))

    # The caller's part.

    def _speech_began(self, now: float) -> None:
        self._patience.caller_is_there(now)
        recently = now - self.saying.playback.dry_at <= _ECHO_TAIL_S
        audible = self.saying.audible(now)
        undecided = self.turn.barge if self.saying.playback.paused else None
        if self.turn.speaking:
            self._unfinished.append(self.turn)
        self.turn = OpenTurn(now, echo_possible=audible or recently, barge=undecided)
        self.notes.happened(now, "speech_began", agent_audible=audible)
        if undecided is None:
            wary = self._false_barges >= self._config.barge.wary_after
            self._contend(now, pause=not wary)

    def _contend(self, now: float, *, pause: bool) -> None:
        """The caller speaks, and so does the agent, or is about to: wait for words."""
        if not self.has_floor or self.ending.final or not self._config.barge.enabled:
            return
        self.turn.barge = Barge(now, paused=pause)
        if pause and not self.saying.playback.paused:
            self.saying.pause(now)

    def _judge(self, now: float, text: str, turn: OpenTurn) -> Judged:
        self.saying.log_heard(now)
        return self._hearing.judge(text, turn.echo_onset_s)

    def _partial(self, now: float, text: str) -> None:
        turn = self.turn
        whole = turn.text(text)
        self.notes.happened(now, "partial", text=whole)
        if turn.barge is None:
            self._contend(now, pause=False)
        judged = self._judge(now, whole, turn)
        if turn.barge is not None and turn.barge.is_real(now, judged, self._config.barge):
            self._interrupt(now, whole)

    def _pending(self, now: float, text: str) -> None:
        turn = self.turn
        turn.pending_s = now
        whole = turn.text(text)
        self.notes.happened(now, "turn_pending", text=whole)
        judged = self._judge(now, whole, turn)
        if turn.barge is not None:
            if not judged.real:
                self._resume_if_paused(now)
                return
            self._interrupt(now, whole)
        if judged.verdict in (Verdict.NOTHING, Verdict.ECHO) or self.ending.final:
            return
        hearing = self._config.hearing
        if hearing.speculate and turn.speculations < hearing.speculations_per_turn:
            if self.has_floor:
                return
            turn.speculations += 1
            answer = self.answering.begin(now, whole, released=False)
            answer.utterance.note_time("turn_pending_s", now)

    def _forget_open_turns(self, now: float) -> None:
        """Their finals will never come."""
        self._resume_if_paused(now)
        self.turn = OpenTurn()
        self._unfinished.clear()
        self._drop_speculation()

    def _speech_resumed(self, now: float) -> None:
        self.notes.happened(now, "turn_resumed")
        self._drop_speculation()

    def _drop_speculation(self) -> None:
        answer = self.answering.answer
        if answer is not None and not answer.released:
            self.answering.drop()

    def _final(self, now: float, event: ev.FinalHeard) -> None:
        turn = self._unfinished[0] if self._unfinished else self.turn
        is_latest = turn is self.turn
        whole = turn.text(event.text)
        self.notes.happened(
            now,
            "asr_final",
            text=event.text,
            turn_end=event.turn_end,
            decode_ms=event.decode_ms,
            queue_ms=event.queue_ms,
            turn_model_ms=event.turn_model_ms,
        )
        if not event.turn_end:
            turn.parts = [whole] if whole else []
            self._drop_speculation()
            return
        judged = self._judge(now, whole, turn)
        over_agent = turn.barge is not None
        if judged.real:
            self._interrupt_if_speaking(now, whole)
        elif is_latest:
            self._resume_if_paused(now)
        late_reply = judged.verdict is Verdict.BACKCHANNEL and self._is_late_reply(now)
        if is_latest:
            self.turn = OpenTurn()
        else:
            self._unfinished.popleft()
        self._patience.quiet_since(now)
        is_turn = judged.real or (judged.verdict is Verdict.BACKCHANNEL and not over_agent)
        if not is_turn and not late_reply:
            self._drop_speculation()
            if over_agent or whole:
                self.notes.happened(now, "not_a_turn", text=whole, verdict=judged.verdict.value)
            return
        self._caller_said(now, whole, final=event, pending_s=turn.pending_s)
        if self.turn.speaking and self.turn.barge is None:
            self._contend(now, pause=True)  # they already say more

    def _is_late_reply(self, now: float) -> bool:
        """A "yes" when hardly anything is left of a question."""
        last = self.saying.queue[-1] if self.saying.queue else None
        left_s = self.saying.left_s(now)
        if last is None or not last.ended or left_s is None:
            return last is None and not self.has_floor
        asked = last.text.rstrip().endswith(("?", "？"))
        return asked and left_s <= self._config.barge.late_reply_s

    def _caller_said(
        self,
        now: float,
        text: str,
        *,
        by_keys: bool = False,
        final: ev.FinalHeard | None = None,
        pending_s: float | None = None,
    ) -> None:
        """The caller's turn is over, and this was it."""
        confidence, language = (final.confidence, final.language) if final else (None, None)
        self.notes.caller(now, text, confidence=confidence, language=language, by_keys=by_keys)
        if self.ending.final:
            return
        self.ending.call_off()
        self._patience.caller_took_turn()
        self._false_barges = 0
        answer = self.answering.answer
        was_speculative = answer is not None and not answer.released
        hit = was_speculative and answer is not None and same_words(answer.text, text)
        if not hit:
            self.answering.drop()
        self.history.add([CallerItem(text)])
        if hit and answer is not None:
            self.answering.release(now)
            answer.utterance.speculation = Speculation.HIT
        else:
            answer = self.answering.begin(now, text, released=True)
            if was_speculative:
                answer.utterance.speculation = Speculation.MISS
        if pending_s is not None:
            answer.utterance.note_time("turn_pending_s", pending_s)
        answer.utterance.note_time("asr_final_s", now)
        if final is not None and final.speech_end_s is not None:
            answer.utterance.note_time("speech_end_s", final.speech_end_s)

    # Whose floor it is.

    def _interrupt(self, now: float, why: str) -> None:
        """The caller means it: fall silent for good."""
        onset_s = self.turn.barge.onset_s if self.turn.barge else now
        self.notes.happened(now, "barge_in", text=why, decided_ms=round((now - onset_s) * 1000))
        self.silence(now)
        self.ending.call_off()
        self._false_barges = 0

    def _interrupt_if_speaking(self, now: float, why: str) -> None:
        """Also when its last word was heard during a pause: the line must not stay paused."""
        speaks = self.has_floor or self.saying.playback.paused
        if speaks and self._config.barge.enabled and not self.ending.final:
            self._interrupt(now, why)

    def _resume_if_paused(self, now: float) -> None:
        barge = self.turn.barge
        if self.saying.playback.paused:
            onset_s = barge.onset_s if barge else now
            paused_ms = round((now - onset_s) * 1000)
            self.notes.happened(now, "false_barge_in", paused_ms=paused_ms)
            self.saying.resume(now)
            self._false_barges += 1
        if barge is not None:
            barge.paused = False

    def barge_undecided(self, now: float) -> None:
        """Time is up: without words that mean something the agent goes on."""
        barge = self.turn.barge
        if barge is not None and barge.heard.real:
            self._interrupt(now, "speech")
        else:
            self._resume_if_paused(now)
