"""All targets by name."""

from tests.fuzz.target import Target, pure
from tests.fuzz.targets import asr_messages, asr_session, tts_messages, tts_session, tts_wording

PURE: tuple[Target, ...] = (
    pure("asr_messages", asr_messages.attempt, share=15),
    pure("asr_session", asr_session.attempt, share=12),
    pure("tts_messages", tts_messages.attempt, share=15),
    pure("tts_session", tts_session.attempt, share=12),
    pure("tts_wording", tts_wording.attempt, share=6),
)
"""Without sockets or files: most of the inputs, since they cost the least."""
EVERY: tuple[Target, ...] = PURE
