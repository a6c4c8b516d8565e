"""The document tells of failures as clients meet them."""

from typing import Any

from services.shared.protocol.base import ERRORS, ErrorCode
from tests.services.serving import LiveService
from tests.services.shared.runtime.conftest import Start
from tests.services.shared.runtime.test_edge import http


def document(live: LiveService) -> dict[str, Any]:
    with http(live) as client:
        told: dict[str, Any] = client.get("/openapi.json").json()
        assert client.get("/openapi.json").json() == told
    return told


def test_every_operation_tells_of_the_one_shape(start_tiny: Start) -> None:
    told = document(start_tiny())
    reference = {"$ref": "#/components/schemas/Error"}
    assert {"/order", "/form", "/health/live"} <= set(told["paths"])
    for operations in told["paths"].values():
        for operation in operations.values():
            for statuses in ("4XX", "5XX"):
                content = operation["responses"][statuses]["content"]
                assert content == {"application/json": {"schema": reference}}
            assert "422" not in operation["responses"]
    assert "HTTPValidationError" not in told["components"]["schemas"]


def test_the_shape_is_that_of_http(start_tiny: Start) -> None:
    schemas = document(start_tiny())["components"]["schemas"]
    assert set(schemas["Error"]["properties"]) == {"type", "code", "message", "retryable"}
    assert set(schemas["ErrorCode"]["enum"]) == {code.value for code in ErrorCode}


def test_every_code_is_told_with_its_status(start_tiny: Start) -> None:
    responses = document(start_tiny())["paths"]["/order"]["post"]["responses"]
    said = responses["4XX"]["description"] + responses["5XX"]["description"]
    for code in ErrorCode:
        assert f"`{code.value}` ({ERRORS[code].http_status})" in said
