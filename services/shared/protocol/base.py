"""What every message of the wire protocol has in common, and how errors travel.

One table, :data:`ERRORS`, says for every error code whether a retry can help, whether the session
ends, the WebSocket close code that then follows and the HTTP status of the same error.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

PROTOCOL_VERSION = 1


class Message(BaseModel):
    """Base of all JSON messages: immutable, and unknown fields are errors that name the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ErrorCode(StrEnum):
    """Machine-readable reasons. Clients branch on these; the sentences may change."""

    INVALID_JSON = "invalid_json"
    INVALID_MESSAGE = "invalid_message"
    UNEXPECTED_MESSAGE = "unexpected_message"
    NOT_FOUND = "not_found"
    UNSUPPORTED_AUDIO = "unsupported_audio"
    INVALID_AUDIO = "invalid_audio"
    UNREADABLE_AUDIO = "unreadable_audio"
    AUDIO_TOO_LONG = "audio_too_long"
    AUDIO_TOO_SHORT = "audio_too_short"
    AUDIO_TOO_QUIET = "audio_too_quiet"
    AUDIO_TOO_NOISY = "audio_too_noisy"
    AUDIO_CLIPPED = "audio_clipped"
    NO_SPEECH = "no_speech"
    CLONING_UNSUPPORTED = "cloning_unsupported"
    TOO_MANY_VOICES = "too_many_voices"
    UNSUPPORTED_LANGUAGE = "unsupported_language"
    UNKNOWN_VOICE = "unknown_voice"
    UNKNOWN_CONTEXT = "unknown_context"
    TOO_MANY_CONTEXTS = "too_many_contexts"
    TEXT_TOO_LONG = "text_too_long"
    MESSAGE_TOO_LARGE = "message_too_large"
    TOO_MANY_MESSAGES = "too_many_messages"
    IDLE_TIMEOUT = "idle_timeout"
    SESSION_TOO_LONG = "session_too_long"
    SLOW_CLIENT = "slow_client"
    SESSION_NOT_FOUND = "session_not_found"
    EVENTS_LOST = "events_lost"
    TAKEN_OVER = "taken_over"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    QUOTA_EXCEEDED = "quota_exceeded"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"
    ENGINE_FAILED = "engine_failed"
    ENGINE_RESTARTING = "engine_restarting"
    INTERNAL = "internal"


class CloseCode(IntEnum):
    """WebSocket close codes that the services use (RFC 6455 §7.4, IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013


class ErrorTraits(NamedTuple):
    """How one error code behaves on both transports."""

    http_status: int
    close: CloseCode | None = None
    """The close code that follows on a WebSocket; None keeps the session."""
    retryable: bool = False
    """The same request may succeed later, or on another instance."""


ERRORS: Mapping[ErrorCode, ErrorTraits] = MappingProxyType(
    {
        ErrorCode.INVALID_JSON: ErrorTraits(400, CloseCode.INVALID_PAYLOAD),
        ErrorCode.INVALID_MESSAGE: ErrorTraits(422, CloseCode.POLICY_VIOLATION),
        ErrorCode.UNEXPECTED_MESSAGE: ErrorTraits(409, CloseCode.POLICY_VIOLATION),
        ErrorCode.NOT_FOUND: ErrorTraits(404),
        ErrorCode.UNSUPPORTED_AUDIO: ErrorTraits(415, CloseCode.UNSUPPORTED_DATA),
        ErrorCode.INVALID_AUDIO: ErrorTraits(400),
        ErrorCode.UNREADABLE_AUDIO: ErrorTraits(415, CloseCode.INVALID_PAYLOAD),
        ErrorCode.AUDIO_TOO_LONG: ErrorTraits(413, CloseCode.MESSAGE_TOO_BIG),
        ErrorCode.AUDIO_TOO_SHORT: ErrorTraits(422),
        ErrorCode.AUDIO_TOO_QUIET: ErrorTraits(422),
        ErrorCode.AUDIO_TOO_NOISY: ErrorTraits(422),
        ErrorCode.AUDIO_CLIPPED: ErrorTraits(422),
        ErrorCode.NO_SPEECH: ErrorTraits(422),
        ErrorCode.CLONING_UNSUPPORTED: ErrorTraits(501),
        ErrorCode.TOO_MANY_VOICES: ErrorTraits(409),
        ErrorCode.UNSUPPORTED_LANGUAGE: ErrorTraits(422, CloseCode.POLICY_VIOLATION),
        ErrorCode.UNKNOWN_VOICE: ErrorTraits(422),
        ErrorCode.UNKNOWN_CONTEXT: ErrorTraits(404),
        ErrorCode.TOO_MANY_CONTEXTS: ErrorTraits(429),
        ErrorCode.TEXT_TOO_LONG: ErrorTraits(413),
        ErrorCode.MESSAGE_TOO_LARGE: ErrorTraits(413, CloseCode.MESSAGE_TOO_BIG),
        ErrorCode.TOO_MANY_MESSAGES: ErrorTraits(429, CloseCode.POLICY_VIOLATION),
        ErrorCode.IDLE_TIMEOUT: ErrorTraits(408, CloseCode.POLICY_VIOLATION, retryable=True),
        ErrorCode.SESSION_TOO_LONG: ErrorTraits(408, CloseCode.POLICY_VIOLATION, retryable=True),
        ErrorCode.SLOW_CLIENT: ErrorTraits(408, CloseCode.POLICY_VIOLATION, retryable=True),
        ErrorCode.SESSION_NOT_FOUND: ErrorTraits(404, CloseCode.POLICY_VIOLATION),
        ErrorCode.EVENTS_LOST: ErrorTraits(410, CloseCode.POLICY_VIOLATION),
        ErrorCode.TAKEN_OVER: ErrorTraits(409, CloseCode.POLICY_VIOLATION),
        ErrorCode.UNAUTHORIZED: ErrorTraits(401, CloseCode.POLICY_VIOLATION),
        ErrorCode.FORBIDDEN: ErrorTraits(403, CloseCode.POLICY_VIOLATION),
        ErrorCode.QUOTA_EXCEEDED: ErrorTraits(429, CloseCode.POLICY_VIOLATION, retryable=True),
        ErrorCode.OVERLOADED: ErrorTraits(503, CloseCode.TRY_AGAIN_LATER, retryable=True),
        ErrorCode.SHUTTING_DOWN: ErrorTraits(503, CloseCode.SERVICE_RESTART, retryable=True),
        ErrorCode.ENGINE_FAILED: ErrorTraits(502, retryable=True),
        ErrorCode.ENGINE_RESTARTING: ErrorTraits(503, retryable=True),
        ErrorCode.INTERNAL: ErrorTraits(500, CloseCode.INTERNAL_ERROR, retryable=True),
    }
)


class Error(Message):
    """Server → client: something went wrong; `message` says what and what was expected."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    retryable: bool
    context_id: str | None = None
    """TTS only: the context that the error belongs to."""
    event: int | None = None
    """ASR only: its number in a session that can be resumed."""


class ProtocolError(Exception):
    """A fault that the client must hear of, with its code and a sentence that helps."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        context_id: str | None = None,
        retry_after_s: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.context_id = context_id
        self.retry_after_s = retry_after_s
        """For HTTP's Retry-After, where the usual time is not right."""
        self.retryable = ERRORS[code].retryable if retryable is None else retryable
        """Whether the same may succeed later; None as an argument: as errors of this code do."""

    @property
    def traits(self) -> ErrorTraits:
        return ERRORS[self.code]

    @property
    def fatal(self) -> bool:
        """True when a WebSocket session ends with this error."""
        return self.traits.close is not None

    def to_message(self) -> Error:
        return Error(
            code=self.code,
            message=self.message,
            retryable=self.retryable,
            context_id=self.context_id,
        )
