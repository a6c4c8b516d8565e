"""All targets by name."""

from contextlib import nullcontext

from tests.fuzz.target import Target, pure
from tests.fuzz.targets import (
    asr_messages,
    asr_session,
    asterisk,
    google_results,
    http,
    llm_stream,
    media,
    sockets,
    tokens,
    tts_messages,
    tts_session,
    tts_wording,
    twilio,
)

PURE: tuple[Target, ...] = (
    pure("asr_messages", asr_messages.attempt, share=14),
    pure("asr_session", asr_session.attempt, share=12),
    pure("tts_messages", tts_messages.attempt, share=14),
    pure("tts_session", tts_session.attempt, share=14),
    pure("tts_wording", tts_wording.attempt, share=4),
    pure("tokens", tokens.attempt, share=3),
    pure("origins", tokens.origins, share=1),
    pure("google_results", google_results.attempt, share=3),
    pure("llm_sse", llm_stream.sse, share=4),
    pure("llm_chat_stream", llm_stream.chat_stream, share=5),
    pure("llm_tool_text", llm_stream.tool_text, share=5),
    pure("llm_refusals", llm_stream.refusals, share=2),
    pure("ari_events", asterisk.ari_events, share=4),
    pure("rtp", asterisk.rtp, share=4),
    pure("media_events", asterisk.media_events, share=4),
    pure("g711", asterisk.g711, share=2),
    pure("twilio_messages", twilio.messages, share=4),
    pure("twilio_requests", twilio.requests, share=1),
    pure("media_opus", media.opus_stream, share=2),
    pure("media_webm", media.webm_stream, share=2),
    Target("media_files", media.decoding, limit_s=5.0, share=4),
    Target("media_references", lambda: nullcontext(media.reference), limit_s=5.0, share=1),
)
"""Without sockets: most of the inputs, since they cost the least."""
LIVE: tuple[Target, ...] = (
    Target("ws_asr", sockets.asr, limit_s=20.0, waits=True, share=3),
    Target("ws_resume", sockets.resuming, limit_s=20.0, waits=True, share=1),
    Target("ws_tts", sockets.tts, limit_s=20.0, waits=True, share=3),
    Target("http_asr", http.asr, limit_s=20.0, waits=True, share=2),
    Target("http_tts", http.tts, limit_s=20.0, waits=True, share=2),
)
"""Over real sockets, against the services as they run."""
EVERY: tuple[Target, ...] = (*PURE, *LIVE)
