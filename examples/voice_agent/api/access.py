"""What a request may reach: the store, and who asks."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from examples.voice_agent.api.keys import KeyRing
from examples.voice_agent.store.store import Store


def _store(connection: HTTPConnection) -> Store:
    store: Store = connection.app.state.store
    return store


def _holder(connection: HTTPConnection) -> str:
    keys: KeyRing = connection.app.state.keys
    return keys.holder(connection)


TheStore = Annotated[Store, Depends(_store)]
Holder = Annotated[str, Depends(_holder)]
"""The name of the key that was given; without a good one the request ends here."""
