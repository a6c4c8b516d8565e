"""How the OpenAPI documents tell of failures: one shape, whatever the route, and every code."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from services.shared.protocol.base import ERRORS, Error, ErrorCode

_SCHEMAS = "#/components/schemas/"
_FRAMEWORKS = ("HTTPValidationError", "ValidationError")
"""What FastAPI says of requests that it refuses, but :mod:`.edge` answers in our own shape."""


def document_errors(app: FastAPI) -> None:
    """Have every operation of the app's document tell of `Error`."""
    without_errors = app.openapi

    def openapi() -> dict[str, Any]:
        told = without_errors()  # the same one each time
        schemas = told.setdefault("components", {}).setdefault("schemas", {})
        if Error.__name__ not in schemas:
            _add_schemas(schemas)
            for operations in told["paths"].values():
                for operation in operations.values():
                    _add_errors(operation["responses"])
        return told

    app.openapi = openapi  # type: ignore[method-assign]


def _add_schemas(schemas: dict[str, Any]) -> None:
    for name in _FRAMEWORKS:
        schemas.pop(name, None)
    shape = Error.model_json_schema(ref_template=_SCHEMAS + "{model}", mode="serialization")
    schemas.update(shape.pop("$defs", {}))
    for name in ("context_id", "event"):  # of WebSockets
        shape["properties"].pop(name)
    schemas[Error.__name__] = shape


def _add_errors(responses: dict[str, Any]) -> None:
    if _SCHEMAS + _FRAMEWORKS[0] in str(responses.get("422")):
        del responses["422"]
    responses.setdefault("4XX", _response("The request cannot be obeyed", range(400, 500)))
    responses.setdefault("5XX", _response("The service cannot, now or at all", range(500, 600)))


def _response(what: str, statuses: Iterable[int]) -> dict[str, Any]:
    codes = [
        f"`{code.value}` ({ERRORS[code].http_status})"
        for code in ErrorCode
        if ERRORS[code].http_status in statuses
    ]
    return {
        "description": f"{what}: {', '.join(codes)}",
        "content": {"application/json": {"schema": {"$ref": _SCHEMAS + Error.__name__}}},
    }
