"""What every customer database is asked, and how its records are told to the model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict

from examples.voice_agent.tools.phone_numbers import PhoneForms

Kind = Literal["phone", "email", "reference"]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a customer is looked for by: one of these."""

    phone: PhoneForms | None = None
    email: str | None = None
    reference: str | None = None

    @property
    def kind(self) -> Kind:
        return "phone" if self.phone else "email" if self.email else "reference"

    @property
    def value(self) -> str:
        """In its plainest form."""
        return self.phone.best if self.phone else self.email or self.reference or ""


class Crm(Protocol):
    """A customer database as it is configured."""

    @property
    def kinds(self) -> Sequence[Kind]:
        """What it can be asked for."""
        ...

    async def find(self, wanted: Wanted, limit: int) -> Sequence[Record]:
        """At most `limit` records, with the names that the model is told.

        Raises:
            PluginError
        """
        ...

    def missing(self) -> Sequence[str]:
        """Secrets and the like that are still to be set up."""
        ...

    async def aclose(self) -> None: ...


class CrmSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_path(path: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", path):
        raise ValueError("is a name, or names with dots in between, e.g. Account.Name")
    return path


FieldPath = Annotated[str, AfterValidator(_is_path)]
"""Where a value is in a record."""


def value_at(record: object, path: str) -> Any:
    """None when there is nothing."""
    for name in path.split(".") if path else ():
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def told(record: Record, fields: Mapping[str, str]) -> dict[str, Any]:
    """The record as the model gets it: only these fields, without the empty ones."""
    values = {name: value_at(record, path) for name, path in fields.items()}
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
