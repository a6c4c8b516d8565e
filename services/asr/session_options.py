"""What the operator decided for all sessions of the service."""

from dataclasses import dataclass

from services.asr.endpointing import EndpointingOptions


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Of the state machine: when it asks for what, and how long anything may become."""

    endpointing: EndpointingOptions = EndpointingOptions()
    languages: tuple[str, ...] = ("en",)
    partial_every_ms: int = 250
    """New audio that is worth a new partial, while the engine is quick."""
    partial_slowest_ms: int = 1500
    """Under load a session asks for a partial only after twice the time that its last one took,
    which leaves the engine to the finals; but never more rarely than this."""
    partial_after_ms: int = 400
    """Shortest speech that gets a partial."""
    settle_ms: int = 1000
    """Hypotheses over less speech than this are shown, but promise nothing."""
    trust: float = 0.5
    """Nor do hypotheses of less confidence: Whisper's inventions on little audio are unsure."""
    segment_ms: int = 28_000
    """Longest audio of one final."""
    commit_ms: int = 15_000
    """A segment longer than this is closed at the next pause after which the speaker goes on."""
    commit_sentence_ms: int = 6_000
    """And one longer than this, when what was said before the pause is a whole sentence."""
    search_ms: int = 4_000
    """Where the cut of an endless segment is looked for: the quietest frame of its last part."""
    max_unfinished: int = 3
    """Finals being decoded before no more audio is taken from the client."""
    streaming: bool = False
    """The engine listens along (:attr:`.Capabilities.streaming`): a final is begun only when it is
    wanted, and a segment is cut where the audio ends, never further back."""
