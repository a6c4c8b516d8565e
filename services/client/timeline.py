"""One timeline over the sessions that an ASR stream has had, one after the other. Pure."""

from services.asr.messages import (
    Final,
    Handover,
    Partial,
    ServerMessage,
    SpeechStarted,
    Stopped,
    Word,
)


class Timeline:
    """Times of a session begin at 0; for the caller they go on where the one before ended."""

    def __init__(self) -> None:
        self._received_ms = 0
        self._speech_ms = 0
        self._dropped_ms = 0

    def hand_over(self, done: Handover) -> None:
        """A session has ended; what follows comes from the next one."""
        self._received_ms += done.received_ms
        self._speech_ms += done.speech_ms
        self._dropped_ms += done.dropped_ms

    def of_all(self, message: ServerMessage) -> ServerMessage:
        """A message of the present session with times and sums of all of them."""
        if not self._received_ms:
            return message
        match message:
            case SpeechStarted(start_ms=start_ms):
                return message.model_copy(update={"start_ms": start_ms + self._received_ms})
            case Partial(start_ms=start_ms, end_ms=end_ms):
                return message.model_copy(update=self._span(start_ms, end_ms))
            case Final(start_ms=start_ms, end_ms=end_ms, words=words):
                moved = None if words is None else tuple(map(self._word, words))
                span = self._span(start_ms, end_ms)
                return message.model_copy(update={**span, "words": moved})
            case Stopped():
                return message.model_copy(
                    update={
                        "received_ms": message.received_ms + self._received_ms,
                        "speech_ms": message.speech_ms + self._speech_ms,
                        "dropped_ms": message.dropped_ms + self._dropped_ms,
                    }
                )
        return message

    def _span(self, start_ms: int, end_ms: int) -> dict[str, int]:
        return {"start_ms": start_ms + self._received_ms, "end_ms": end_ms + self._received_ms}

    def _word(self, word: Word) -> Word:
        return word.model_copy(update=self._span(word.start_ms, word.end_ms))
