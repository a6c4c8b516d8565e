"""Parameters as JSON schema, as plain as models like it, and what is wrong with arguments."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


class ArgumentsError(ValueError):
    """The arguments of a call are wrong; the sentences help a model to do better."""


def parameters_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of an object: without titles and references; what may be null may be left
    out instead."""
    schema = model.model_json_schema()
    plain = _plain(schema, schema.pop("$defs", {}))
    plain.setdefault("properties", {})
    return plain


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        referred = definitions[reference.rpartition("/")[2]]
        return _plain({**referred, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" or (key == "default" and value is None):
            continue
        if key == "properties":
            out[key] = {name: _plain(inner, definitions) for name, inner in value.items()}
        elif key == "anyOf":
            kinds = [_plain(kind, definitions) for kind in value if kind.get("type") != "null"]
            out |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        elif key == "items" and isinstance(value, dict):
            out[key] = _plain(value, definitions)
        elif key == "const":
            out["enum"] = [value]
        elif key != "additionalProperties":
            out[key] = value
    return out


def read_parameters(model: type[M], arguments: Mapping[str, Any]) -> M:
    """
    Raises:
        ArgumentsError: tells of every wrong one.
    """
    given = {key: value for key, value in arguments.items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(_sentence(model, problem) for problem in error.errors()[:10])
    known = ", ".join(_described(model)) or "none"
    raise ArgumentsError(f"Wrong arguments: {wrong}. The parameters are: {known}.")


def _sentence(model: type[BaseModel], problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no parameter {where[:60]!r}"
    if problem["type"] == "missing":
        return f"{where} is missing"
    given = repr(problem["input"])
    what = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{where} {what}, not {given[:60]}"


def _described(model: type[BaseModel]) -> list[str]:
    return [
        name if field.is_required() else f"{name} (optional)"
        for name, field in model.model_fields.items()
    ]
