"""JSON text ↔ typed messages, with errors that name the field and what was expected."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from services.shared.protocol.base import ErrorCode, Message, ProtocolError

M = TypeVar("M", bound=Message)


class Codec(Generic[M]):
    """Decodes one direction of a protocol: a union of messages told apart by `type`."""

    def __init__(self, *kinds: type[M]) -> None:
        self._kinds = {_type_of(kind): kind for kind in kinds}
        self._adapters: dict[str, TypeAdapter[M]] = {
            name: TypeAdapter(kind) for name, kind in self._kinds.items()
        }

    def decode(self, text: str) -> M:
        """Parse one text frame.

        Raises:
            ProtocolError: `invalid_json` for text that is no JSON object, `invalid_message` for an
                unknown type, an unknown field or a value of the wrong kind.
        """
        fields = _parse_object(text)
        name = fields.get("type")
        adapter = self._adapters.get(name) if isinstance(name, str) else None
        if adapter is None:
            given = "missing" if name is None else f"{name!r:.60}"
            raise ProtocolError(
                ErrorCode.INVALID_MESSAGE,
                f'field "type" is {given}; expected one of {", ".join(sorted(self._kinds))}',
            )
        try:
            return adapter.validate_python(fields)
        except ValidationError as error:
            raise ProtocolError(ErrorCode.INVALID_MESSAGE, f"{name}: {describe(error)}") from None


def encode(message: BaseModel) -> str:
    """Serialise a message; fields that were left at None are not sent."""
    return message.model_dump_json(exclude_none=True)


def describe(error: ValidationError, limit: int = 3) -> str:
    """Turn a validation error into one sentence that names each field and what it should be."""
    details = error.errors(include_url=False)
    parts = [_describe_one(detail) for detail in details[:limit]]
    if len(details) > limit:
        parts.append(f"and {len(details) - limit} more")
    return "; ".join(parts)


def _describe_one(detail: ErrorDetails) -> str:
    field = ".".join(str(step) for step in detail["loc"]) or "(message)"
    if detail["type"] == "extra_forbidden":
        return f'unknown field "{field[:80]}"'
    if detail["type"] == "missing":
        return f'field "{field}" is required'
    if any("key" in str(step) or "secret" in str(step) for step in detail["loc"]):
        return f'field "{field}": {detail["msg"]}'  # what was given may be one
    shown = repr(detail["input"])
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return f'field "{field}": {detail["msg"]} (got {shown})'


def _parse_object(text: str) -> dict[str, Any]:
    try:
        # Not json.loads: this parser bounds nesting and digits and refuses NaN by itself.
        value = from_json(text, allow_inf_nan=False, cache_strings="none")
    except ValueError as error:
        raise ProtocolError(ErrorCode.INVALID_JSON, f"text frame is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ProtocolError(
            ErrorCode.INVALID_JSON,
            f"a message must be a JSON object, not {type(value).__name__}",
        )
    return value


def _type_of(kind: type[Message]) -> str:
    name = kind.model_fields["type"].default
    if not isinstance(name, str):
        raise TypeError(f"{kind.__name__}.type needs a literal default")
    return name
