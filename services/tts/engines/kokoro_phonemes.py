"""espeak-ng's IPA in the symbols that Kokoro was trained on. Data, and the little that reads it.

Kokoro's vocabulary (the `vocab` of its config.json) writes diphthongs and affricates as one symbol;
its English was written by the misaki phonemizer, other languages much as espeak writes them.
"""

from collections.abc import Mapping, Sequence

_LONGEST = 3

_COMMON = {
    "c\u0327": "ç",  # espeak's text is decomposed, the vocabulary is not
    "dʒ": "ʤ",
    "tʃ": "ʧ",
}
_AFFRICATES = {"ts": "ʦ", "dz": "ʣ", "tɕ": "ʨ", "dʑ": "ʥ"}
_ENGLISH = {
    "aɪ": "I",
    "aʊ": "W",
    "eɪ": "A",
    "ɔɪ": "Y",
    "n\u0329": "ᵊn",
    "l\u0329": "ᵊl",
    "m\u0329": "ᵊm",
    "ʔn\u0329": "tᵊn",
    "ʔ": "t",
    "ɐ": "ə",
    "r": "ɹ",
    "x": "k",
    "ɬ": "l",
    "ʲ": "",
    "\u0303": "",
}
_AMERICAN = {"oʊ": "O", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɚ": "əɹ", "ɪə": "iə", "ɾ": "T", "ː": ""}
_BRITISH = {"əʊ": "Q", "oʊ": "Q", "eə": "ɛː", "iə": "ɪə"}
_JAPANESE = {
    "a\u0308": "a",
    "e\u031e": "e",
    "o\u031e": "o",
    "ɯᵝ": "ɯ",
    "ˈ": "",  # espeak stresses Japanese like English
    "ˌ": "",
}

ESPEAK_VOICES: Mapping[str, str] = {
    "en-US": "en-us",
    "en-GB": "en-gb-x-rp",
    "es": "es",
    "fr": "fr",
    "hi": "hi",
    "it": "it",
    "ja": "ja",
    "pt-BR": "pt-br",
}
"""The languages that Kokoro speaks by way of espeak, and espeak's voice for each."""

_RULES: Mapping[str, Mapping[str, str]] = {
    "en-US": _COMMON | _ENGLISH | _AMERICAN,
    "en-GB": _COMMON | _ENGLISH | _BRITISH,
    "ja": _COMMON | _AFFRICATES | _JAPANESE,
}


def to_symbols(phonemes: Sequence[str], language: str) -> tuple[list[str], list[int]]:
    """Kokoro's symbols for espeak's, and the phoneme that each symbol comes from.

    Args:
        phonemes: code points, decomposed.
        language: a key of ESPEAK_VOICES.
    """
    rules = _RULES.get(language, _COMMON | _AFFRICATES)
    symbols: list[str] = []
    owners: list[int] = []
    at = 0
    while at < len(phonemes):
        source, target = _longest_match(phonemes, at, rules)
        symbols += target
        owners += [at + min(number, source - 1) for number in range(len(target))]
        at += source
    return symbols, owners


def _longest_match(phonemes: Sequence[str], at: int, rules: Mapping[str, str]) -> tuple[int, str]:
    """How many phonemes are taken, and what they become."""
    for length in range(min(_LONGEST, len(phonemes) - at), 0, -1):
        target = rules.get("".join(phonemes[at : at + length]))
        if target is not None:
            return length, target
    return 1, phonemes[at]
