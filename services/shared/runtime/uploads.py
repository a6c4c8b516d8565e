"""Files that clients send as `multipart/form-data`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.protocol.codec import describe

_MAX_FIELD_BYTES = 64 * 1024

Form = TypeVar("Form", bound=BaseModel)


@contextlib.asynccontextmanager
async def received_form(
    request: Request, fields: type[Form], limit_s: float
) -> AsyncIterator[tuple[UploadFile, Form]]:
    """A form's one file, which is on disk when it is large, and its text fields; freed at the end.

    Args:
        fields: the text fields that it can have.
        limit_s: a form that takes longer to arrive is given up.

    Raises:
        ProtocolError: it did not arrive, or a field is missing, unknown or ill-typed.
    """
    try:
        async with asyncio.timeout(limit_s):
            form = await request.form(
                max_files=1,
                max_fields=2 * len(fields.model_fields),
                max_part_size=_MAX_FIELD_BYTES,
            )
    except TimeoutError:
        sentence = f"the file did not arrive within {limit_s:g} s"
        raise ProtocolError(ErrorCode.IDLE_TIMEOUT, sentence) from None
    except ClientDisconnect:
        raise client_gone() from None
    except HTTPException as error:
        sentence = f"the form cannot be read: {error.detail}"
        raise ProtocolError(ErrorCode.INVALID_MESSAGE, sentence) from None
    try:
        yield _read(form, fields)
    finally:
        await form.close()


def _read(form: FormData, fields: type[Form]) -> tuple[UploadFile, Form]:
    texts: dict[str, Any] = dict(form)
    file = texts.pop("file", None)
    if not isinstance(file, UploadFile):
        raise ProtocolError(
            ErrorCode.INVALID_MESSAGE, 'field "file" is required, as a part with a file name'
        )
    try:
        return file, fields.model_validate(texts)
    except ValidationError as error:
        known = ", ".join(["file", *fields.model_fields])
        sentence = f"{describe(error)}; the form's fields are {known}"
        raise ProtocolError(ErrorCode.INVALID_MESSAGE, sentence) from None


def documented_form(fields: type[BaseModel]) -> dict[str, Any]:
    """The request's body for the API's documentation."""
    schema = fields.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "wav, flac, mp3, ogg, webm, m4a …"}
    schema["properties"] = {"file": file, **schema["properties"]}
    schema["required"] = ["file", *schema.get("required", [])]
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def client_gone() -> ProtocolError:
    """Nobody reads it, but logs and metrics do."""
    return ProtocolError(ErrorCode.IDLE_TIMEOUT, "the client has gone")
