"""Which language a client means. Pure."""

from collections.abc import Sequence

from services.shared.protocol.base import ErrorCode, ProtocolError


def known_language(asked: str, languages: Sequence[str]) -> str:
    """The model's code for a language tag: "en-US" is "en".

    Raises:
        ProtocolError: `unsupported_language`, with those that the model has.
    """
    language = asked.lower().split("-")[0]
    if language not in languages:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED_LANGUAGE,
            f'language "{asked:.20}" is not among those of this model: {", ".join(languages)}',
        )
    return language
