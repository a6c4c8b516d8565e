"""Which secrets of the environment an agent's configuration may name.

Whoever may edit agents may also say where a key is sent. So names are not free: those that begin
with `VOICE_AGENT_SECRET_`, those of the bundled tools, and what the operator adds in
`VOICE_AGENT_SECRETS` (names with commas in between).
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "VOICE_AGENT_SECRET_"
MORE = "VOICE_AGENT_SECRETS"
_BUNDLED = frozenset(
    {
        "SALESFORCE_CONSUMER_KEY",
        "SALESFORCE_CONSUMER_SECRET",
        "SALESFORCE_PASSWORD",
        "SALESFORCE_SECURITY_TOKEN",
        "ZOHO_CLIENT_ID",
        "ZOHO_CLIENT_SECRET",
        "ZOHO_REFRESH_TOKEN",
    }
)


class SecretError(Exception):
    """The secret cannot be had; the sentence says what is to be done."""


def read_secret(variable: str) -> str:
    """
    Raises:
        SecretError: it is not set, or must not be used.
    """
    if (refusal := refused(variable)) is not None:
        raise SecretError(refusal)
    value = os.environ.get(variable, "").strip()
    if not value:
        raise SecretError(f"set {variable} in the environment")
    return value


def refused(variable: str) -> str | None:
    """Why agents may not have this one; None: they may."""
    added = {name.strip() for name in os.environ.get(MORE, "").split(",")}
    if variable.startswith(PREFIX) or variable in _BUNDLED or variable in added:
        return None
    return (
        f"agents may not read {variable}: rename it to {PREFIX}{variable}, here and in the "
        f"environment, or have the operator add it to {MORE}"
    )


def named_secrets(config: Mapping[str, Any]) -> Iterator[str]:
    """The names in a configuration: the texts of all fields that end in `_env`."""
    for key, value in config.items():
        if key.endswith("_env") and isinstance(value, str):
            yield value
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, Mapping):
                yield from named_secrets(each)
