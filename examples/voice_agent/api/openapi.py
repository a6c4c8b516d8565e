"""How the OpenAPI document tells of failures: one shape, whatever the route."""

from typing import Any

from fastapi import FastAPI

from examples.voice_agent.api.errors import ErrorKind
from examples.voice_agent.api.messages import ErrorTold

_SCHEMAS = "#/components/schemas/"
_FRAMEWORKS = ("HTTPValidationError", "ValidationError")


def document_errors(app: FastAPI) -> None:
    """Have every operation of the app's document tell of `ErrorTold`, and not of FastAPI's own."""
    without_errors = app.openapi

    def openapi() -> dict[str, Any]:
        told = without_errors()  # the same one each time
        schemas = told.setdefault("components", {}).setdefault("schemas", {})
        for name in _FRAMEWORKS:
            schemas.pop(name, None)
        schemas[ErrorTold.__name__] = ErrorTold.model_json_schema()
        for operations in told["paths"].values():
            for operation in operations.values():
                _add_errors(operation["responses"])
        return told

    app.openapi = openapi  # type: ignore[method-assign]


def _add_errors(responses: dict[str, Any]) -> None:
    if _SCHEMAS + _FRAMEWORKS[0] in str(responses.get("422")):
        del responses["422"]
    responses["4XX"] = _response("The request cannot be obeyed", "4")
    responses["5XX"] = _response("The service cannot, now or at all", "5")


def _response(what: str, first_digit: str) -> dict[str, Any]:
    codes = [
        f"`{kind.code}` ({kind.status})"
        for kind in ErrorKind
        if str(kind.status).startswith(first_digit)
    ]
    return {
        "description": f"{what}: {', '.join(codes)}",
        "content": {"application/json": {"schema": {"$ref": _SCHEMAS + ErrorTold.__name__}}},
    }
