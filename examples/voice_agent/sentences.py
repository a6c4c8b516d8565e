"""What an agent says of its own accord, and which of the caller's words are no interruption.

These sentences are spoken from memory when something is slow or broken, so none may depend on the
language model, and each is rendered before it can be needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Sentence(StrEnum):
    """When a fixed sentence is said."""

    GREETING = "greeting"
    FILLER = "filler"
    """An answer takes long."""
    STILL_WORKING = "still_working"
    """It takes longer still."""
    APOLOGY = "apology"
    """An answer failed; the caller may try again."""
    SILENCE_PROMPT = "silence_prompt"
    SILENCE_GOODBYE = "silence_goodbye"
    GOODBYE = "goodbye"
    """The model ended the call without a word."""
    TRANSFERRING = "transferring"
    """The model transferred the call without a word."""
    TRANSFER_FAILED = "transfer_failed"
    CANNOT_HEAR = "cannot_hear"
    """The ASR service is away."""
    HEAR_AGAIN = "hear_again"
    TIME_WARNING = "time_warning"
    TIME_UP = "time_up"
    FALLBACK = "fallback"
    """Something is broken for good, and somebody else takes over."""
    FAILED = "failed"
    """Something is broken for good, and nobody takes over."""


@dataclass(frozen=True, slots=True)
class LanguagePack:
    """The defaults of one language."""

    sentences: Mapping[Sentence, str]
    backchannels: frozenset[str]
    """What people say while they listen, in small letters, words separated by a space."""
    stop_words: frozenset[str]
    """Single words that are meant as an interruption, however short."""
    keys: str
    """How the model is told of pressed keys; `{digits}` stands for them."""


def _phrases(listed: str) -> frozenset[str]:
    return frozenset(listed.split("|"))


_ENGLISH = LanguagePack(
    sentences=MappingProxyType(
        {
            Sentence.GREETING: "Hello, how can I help you?",
            Sentence.FILLER: "One moment, please.",
            Sentence.STILL_WORKING: "I am still working on that.",
            Sentence.APOLOGY: "I am sorry, something went wrong. Could you say that again?",
            Sentence.SILENCE_PROMPT: "Are you still there?",
            Sentence.SILENCE_GOODBYE: "I cannot hear anybody, so I will hang up. Goodbye.",
            Sentence.GOODBYE: "Thank you for calling. Goodbye.",
            Sentence.TRANSFERRING: "I will put you through now.",
            Sentence.TRANSFER_FAILED: "I am sorry, I could not put you through.",
            Sentence.CANNOT_HEAR: "I am sorry, I cannot hear you right now. Please hold on.",
            Sentence.HEAR_AGAIN: "I can hear you again. Please go on.",
            Sentence.TIME_WARNING: "We have about a minute left on this call.",
            Sentence.TIME_UP: "I am sorry, our time is up. Thank you for calling. Goodbye.",
            Sentence.FALLBACK: "I am sorry, I have a technical problem. I will put you through.",
            Sentence.FAILED: "I am sorry, I have a technical problem. Please call again later.",
        }
    ),
    backchannels=_phrases(
        "mm|mmm|mhm|mm hm|mm hmm|mhmm|hm|hmm|uh huh|uh|um|ah|oh|huh|yeah|yes|yep|yup|ok"
        "|okay|right|sure|i see|got it|all right|alright|good|great|cool|fine|exactly"
        "|of course|aha"
    ),
    stop_words=_phrases("stop|wait|no|pause|hello|hey|excuse|sorry|hold"),
    keys="(The caller pressed {digits} on the telephone's keys.)",
)

_VIETNAMESE = LanguagePack(
    sentences=MappingProxyType(
        {
            Sentence.GREETING: "Xin chào, tôi có thể giúp gì cho bạn?",
            Sentence.FILLER: "Xin chờ một chút ạ.",
            Sentence.STILL_WORKING: "Tôi vẫn đang kiểm tra.",
            Sentence.APOLOGY: "Xin lỗi, vừa có trục trặc. Bạn nói lại giúp tôi được không?",
            Sentence.SILENCE_PROMPT: "Bạn còn nghe máy không ạ?",
            Sentence.SILENCE_GOODBYE: "Tôi không nghe thấy ai nên xin phép ngắt máy. Xin chào.",
            Sentence.GOODBYE: "Cảm ơn bạn đã gọi. Xin chào.",
            Sentence.TRANSFERRING: "Tôi xin chuyển máy ngay.",
            Sentence.TRANSFER_FAILED: "Xin lỗi, tôi không chuyển máy được.",
            Sentence.CANNOT_HEAR: "Xin lỗi, hiện tôi không nghe được bạn. Xin chờ một chút.",
            Sentence.HEAR_AGAIN: "Tôi nghe được rồi. Mời bạn nói tiếp.",
            Sentence.TIME_WARNING: "Cuộc gọi còn khoảng một phút nữa ạ.",
            Sentence.TIME_UP: "Xin lỗi, đã hết thời gian. Cảm ơn bạn đã gọi. Xin chào.",
            Sentence.FALLBACK: "Xin lỗi, hệ thống đang gặp sự cố. Tôi xin chuyển máy.",
            Sentence.FAILED: "Xin lỗi, hệ thống đang gặp sự cố. Xin gọi lại sau.",
        }
    ),
    backchannels=_phrases(
        "ừ|ừm|ờ|à|ạ|dạ|vâng|dạ vâng|vâng ạ|dạ dạ|ừ ừ|được|được rồi|rồi|ok|okay|ô kê|đúng"
        "|đúng rồi|hiểu rồi|thế à|vậy à|thế ạ|vậy ạ|ừ hử"
    ),
    stop_words=_phrases("khoan|dừng|không|chờ|đợi|thôi|alo"),
    keys="(Người gọi đã bấm {digits} trên bàn phím điện thoại.)",
)

_PACKS: Mapping[str, LanguagePack] = MappingProxyType({"en": _ENGLISH, "vi": _VIETNAMESE})


def language_pack(language: str) -> LanguagePack:
    """The defaults of a BCP 47 language, whatever its region.

    Raises:
        ValueError: there are none; the message names those that there are.
    """
    pack = _PACKS.get(language.casefold().replace("_", "-").split("-")[0])
    if pack is None:
        known = ", ".join(sorted(_PACKS))
        raise ValueError(
            f"no sentences for language {language!r}; give all of them, or use {known}"
        )
    return pack
