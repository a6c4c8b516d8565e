"""Files that clients send as `multipart/form-data`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from services.shared.protocol.base import ErrorCode, ProtocolError

_MAX_FIELD_BYTES = 64 * 1024


@contextlib.asynccontextmanager
async def received_form(request: Request, fields: int, limit_s: float) -> AsyncIterator[FormData]:
    """The whole form with one file, which is on disk when it is large; freed at the end.

    Args:
        fields: how many text fields it can have.
        limit_s: a form that takes longer to arrive is given up.

    Raises:
        ProtocolError: it did not arrive.
    """
    try:
        async with asyncio.timeout(limit_s):
            form = await request.form(
                max_files=1, max_fields=2 * fields, max_part_size=_MAX_FIELD_BYTES
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
        yield form
    finally:
        await form.close()


def client_gone() -> ProtocolError:
    """Nobody reads it, but logs and metrics do."""
    return ProtocolError(ErrorCode.IDLE_TIMEOUT, "the client has gone")
