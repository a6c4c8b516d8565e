"""Phone numbers, however they were said or signalled, in the forms that databases keep them in."""

import re
from dataclasses import dataclass
from typing import Any

from examples.voice_agent.tools.base import PluginError, optional_library

_MAX_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class PhoneForms:
    """One number in its usual spellings."""

    e164: str
    """"+84901234567"; "" when it is an extension or the like."""
    digits: str
    """Digits only, international: "84901234567"."""
    national_digits: str
    """As it is dialled at home: "0901234567"."""
    spellings: tuple[str, ...]
    """All of them, each once."""

    @property
    def best(self) -> str:
        return self.e164 or self.digits


def phone_forms(text: str, region: str) -> PhoneForms:
    """
    Args:
        region: ISO country code, e.g. "VN": where numbers without a country's code are from.

    Raises:
        PluginError: it is none; or `phonenumbers` is not installed.
    """
    digits = re.sub(r"[^0-9]", "", text[:_MAX_CHARACTERS])
    lib = optional_library("phonenumbers", "phonenumbers")
    try:
        number = lib.parse(text[:_MAX_CHARACTERS], region)
        possible = lib.is_possible_number(number)
    except lib.NumberParseException:
        possible = False
    if possible:
        return _forms(lib, number)
    if not 2 <= len(digits) <= 15:
        raise PluginError(f"{text[:_MAX_CHARACTERS]!r} is no phone number. Ask the caller for it.")
    return PhoneForms("", digits, digits, (digits,))


def _forms(lib: Any, number: Any) -> PhoneForms:
    kinds = lib.PhoneNumberFormat
    written = {
        kind: str(lib.format_number(number, kind))
        for kind in (kinds.E164, kinds.NATIONAL, kinds.INTERNATIONAL)
    }
    e164, national = written[kinds.E164], written[kinds.NATIONAL]
    national_digits = re.sub(r"[^0-9]", "", national)
    spellings = (
        e164,
        e164.lstrip("+"),
        national_digits,
        national,
        written[kinds.INTERNATIONAL],
        national.replace(" ", "-"),
        national.replace(" ", "."),
    )
    return PhoneForms(e164, e164.lstrip("+"), national_digits, tuple(dict.fromkeys(spellings)))
