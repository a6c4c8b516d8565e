"""What the dialogue wants done. Carrying one out never waits: long work belongs to tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

from examples.voice_agent.ports import ChatMessage, Entry, ToolCall, ToolSpec
from examples.voice_agent.sentences import Sentence

# The language model and tools.


@dataclass(frozen=True, slots=True)
class Ask:
    request: int
    messages: Sequence[ChatMessage]
    tools: Sequence[ToolSpec]


@dataclass(frozen=True, slots=True)
class StopAsking:
    request: int


@dataclass(frozen=True, slots=True)
class RunTool:
    call: ToolCall


@dataclass(frozen=True, slots=True)
class StopTool:
    call_id: str


# Speech: text to the TTS service.


@dataclass(frozen=True, slots=True)
class OpenSpeech:
    """A new context of the TTS service. Its audio is kept until :class:`Play`."""

    utterance: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Say:
    utterance: int
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class SayNow:
    """What was said so far shall be spoken, finished sentence or not."""

    utterance: int
    attempt: int


@dataclass(frozen=True, slots=True)
class EndSpeech:
    """No more text."""

    utterance: int
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelSpeech:
    """Make no more of it; what is there is forgotten, too, unless it was to be played."""

    utterance: int
    attempt: int


# Playback: audio to the caller.


@dataclass(frozen=True, slots=True)
class Play:
    """The utterance is next after those that are being played."""

    utterance: int


@dataclass(frozen=True, slots=True)
class PlaySentence:
    """Play a sentence from memory."""

    utterance: int
    sentence: Sentence
    first: bool = False
    """Before all that has not been sent yet, else after it."""


@dataclass(frozen=True, slots=True)
class Complete:
    """No more audio comes for this utterance: play what there is, then its last mark."""

    utterance: int


@dataclass(frozen=True, slots=True)
class Pause:
    pass


@dataclass(frozen=True, slots=True)
class Resume:
    pass


@dataclass(frozen=True, slots=True)
class Silence:
    """Fall silent and forget everything that was to be played."""


# The call and the journal.


@dataclass(frozen=True, slots=True)
class PressKeys:
    digits: str


@dataclass(frozen=True, slots=True)
class Transfer:
    target: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Let the call go on where it came from."""


@dataclass(frozen=True, slots=True)
class HangUp:
    cause: str


@dataclass(frozen=True, slots=True)
class Write:
    entry: Entry


Command = (
    Ask
    | StopAsking
    | RunTool
    | StopTool
    | OpenSpeech
    | Say
    | SayNow
    | EndSpeech
    | CancelSpeech
    | Play
    | PlaySentence
    | Complete
    | Pause
    | Resume
    | Silence
    | PressKeys
    | Transfer
    | GiveBack
    | HangUp
    | Write
)
