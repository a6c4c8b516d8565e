"""What the agent says: utterances on their way to the caller. Sans I/O."""

from collections.abc import Callable, Iterator, Mapping

from examples.voice_agent.commands import (
    CancelSpeech,
    Command,
    Complete,
    EndSpeech,
    OpenSpeech,
    Pause,
    Play,
    PlaySentence,
    Resume,
    Say,
    SayNow,
    Silence,
)
from examples.voice_agent.events import AudioCame, AudioComplete, AudioSent, Heard, WordsTimed
from examples.voice_agent.hearing import Hearing
from examples.voice_agent.playback import Playback
from examples.voice_agent.sentences import Sentence
from examples.voice_agent.utterance import Utterance

ANSWER = "answer"
_HICCUP_S = 0.06
"""So much the clock of the playback may be wrong."""


class Saying:
    """All utterances that are not over, and how far the caller has heard them.

    An utterance that is *released* is in the queue, and stays there until its last mark; others
    are made in secret.
    """

    def __init__(
        self, out: Callable[[Command], None], sentences: Mapping[Sentence, str], hearing: Hearing
    ) -> None:
        self.playback = Playback()
        self.queue: list[Utterance] = []
        self.tts_characters = 0
        self._out = out
        self._sentences = sentences
        self._hearing = hearing
        self._alive: dict[int, Utterance] = {}
        self._last_id = 0

    # Making utterances.

    def new(self) -> Utterance:
        """An answer that is to be spoken by the TTS service."""
        return self._add(ANSWER, "")

    def sentence(self, now: float, sentence: Sentence, *, first: bool = False) -> Utterance | None:
        """Play a sentence from memory; None: it has no words.

        Args:
            first: before all that has not been sent yet.
        """
        text = self._sentences.get(sentence, "").strip()
        if not text:
            return None
        utterance = self._add(sentence.value, text)
        utterance.opened = utterance.ended = utterance.released = True
        utterance.released_s = now
        self.queue.insert(0 if first else len(self.queue), utterance)
        self._out(PlaySentence(utterance.id, sentence, first))
        return utterance

    def say(self, utterance: Utterance, text: str) -> None:
        if not utterance.opened:
            utterance.opened = True
            self._out(OpenSpeech(utterance.id, utterance.attempt))
        utterance.text += text
        self.tts_characters += len(text)
        self._out(Say(utterance.id, utterance.attempt, text))

    def say_now(self, utterance: Utterance) -> None:
        if utterance.opened:
            self._out(SayNow(utterance.id, utterance.attempt))

    def end(self, utterance: Utterance) -> None:
        if utterance.ended:
            return
        utterance.ended = True
        if utterance.opened:
            self._out(EndSpeech(utterance.id, utterance.attempt))
        else:
            self._alive.pop(utterance.id, None)

    def release(self, now: float, utterance: Utterance) -> None:
        """It may be heard now."""
        if utterance.opened and not utterance.released:
            utterance.released = True
            utterance.released_s = now
            self.queue.append(utterance)
            self._out(Play(utterance.id))

    def cancel(self, utterance: Utterance) -> None:
        """Nobody shall hear it; for what is not in the queue."""
        if self._alive.pop(utterance.id, None) and utterance.opened:
            self._out(CancelSpeech(utterance.id, utterance.attempt))

    def begin_again(self, utterance: Utterance) -> None:
        """Its TTS context was lost: have the rest spoken by another."""
        rest = utterance.begin_again()
        self._out(OpenSpeech(utterance.id, utterance.attempt))
        if rest:
            self.tts_characters += len(rest)
            self._out(Say(utterance.id, utterance.attempt, rest))
        if utterance.ended:
            self._out(EndSpeech(utterance.id, utterance.attempt))

    def cut_off(self, now: float, utterance: Utterance) -> None:
        """No more audio is waited for: let what there is be the end of it."""
        if not utterance.complete:
            self._out(CancelSpeech(utterance.id, utterance.attempt))
        utterance.interrupt(utterance.audio_ms)
        utterance.ended = True
        self._complete(now, utterance)

    # Playing them.

    def pause(self, now: float) -> None:
        self.log_heard(now)
        self.playback.pause(now)
        self._out(Pause())

    def resume(self, now: float) -> None:
        self.playback.resume(now)
        self._out(Resume())

    def silence(self, now: float) -> Iterator[tuple[Utterance, float]]:
        """Fall silent; gives what was interrupted, with how much of it was heard, ms."""
        self.log_heard(now)
        interrupted = [(each, self.playback.heard_ms(now, each.id)) for each in self.queue]
        self._out(Silence())
        for utterance, heard_ms in interrupted:
            if not utterance.complete:
                self._out(CancelSpeech(utterance.id, utterance.attempt))
            utterance.interrupt(heard_ms)
            self._alive.pop(utterance.id, None)
        self.queue.clear()
        self.playback.flush(now)
        yield from interrupted

    def audible(self, now: float) -> bool:
        """The caller hears the agent, or would if it had not paused."""
        return self.playback.remaining_ms(now) > 0

    def silent_from(self, now: float) -> float:
        """When the caller has heard, or will have heard, all that was sent. Not while paused."""
        remaining_s = self.playback.remaining_ms(now) / 1000
        return now + remaining_s if remaining_s > 0 else self.playback.dry_at

    def left_s(self, now: float) -> float | None:
        """Until the last word; None: nobody knows yet."""
        if any(not utterance.complete for utterance in self.queue):
            return None
        unsent = sum(max(0.0, each.audio_ms - each.sent_ms) for each in self.queue)
        return (self.playback.remaining_ms(now) + unsent) / 1000

    # What is told of them. Events of utterances that are over are of no account.

    def find(self, utterance: int, attempt: int | None = None) -> Utterance | None:
        found = self._alive.get(utterance)
        return found if found and attempt in (None, found.attempt) else None

    def on_words(self, event: WordsTimed) -> None:
        if utterance := self.find(event.utterance, event.attempt):
            utterance.add_words(event.words)

    def on_audio(self, now: float, event: AudioCame) -> None:
        if utterance := self.find(event.utterance, event.attempt):
            utterance.note_time("tts_first_s", now)
            utterance.audio_ms += event.ms

    def on_complete(self, now: float, event: AudioComplete) -> None:
        if (utterance := self.find(event.utterance, event.attempt)) and not utterance.complete:
            self._complete(now, utterance)

    def on_sent(self, now: float, event: AudioSent) -> float:
        """Gives for how long there was nothing to hear of an utterance that had begun."""
        utterance = self.find(event.utterance)
        if utterance is None:
            return 0.0
        dry_s = self._dry_s(now) if utterance.sent_ms else 0.0
        utterance.note_time("wire_first_s", now)
        utterance.sent_ms += event.ms
        self.playback.sent(now, utterance.id, event.ms)
        return dry_s

    def _dry_s(self, now: float) -> float:
        dry = self.playback.remaining_ms(now) <= 0
        gap_s = now - self.playback.dry_at if dry else 0.0
        return gap_s if gap_s > _HICCUP_S else 0.0

    def on_heard(self, now: float, event: Heard) -> Utterance | None:
        """Gives the utterance that this was the end of."""
        utterance = self.find(event.utterance)
        if utterance is None:
            return None
        self.playback.marked(now, utterance.id, event.ms)
        self.log_heard(now)
        return self.finish(now, utterance) if event.end else None

    def finish(self, now: float, utterance: Utterance) -> Utterance:
        """All of it was heard."""
        self.log_heard(now)
        utterance.note_time("played_s", now)
        self._alive.pop(utterance.id, None)
        if utterance in self.queue:
            self.queue.remove(utterance)
        self.playback.forget(utterance.id)
        return utterance

    def log_heard(self, now: float) -> None:
        """Let the echo guard know which words were heard when."""
        for utterance in self.queue:
            heard_ms = self.playback.heard_ms(now, utterance.id)
            for word in utterance.words:
                if utterance.logged_ms <= word.start_ms < heard_ms:
                    self._hearing.agent_said(now - (heard_ms - word.start_ms) / 1000, word.word)
            utterance.logged_ms = max(utterance.logged_ms, heard_ms)

    def _complete(self, now: float, utterance: Utterance) -> None:
        utterance.complete = True
        utterance.complete_s = now
        self._out(Complete(utterance.id))

    def _add(self, kind: str, text: str) -> Utterance:
        self._last_id += 1
        utterance = Utterance(self._last_id, kind, text)
        self._alive[utterance.id] = utterance
        return utterance
