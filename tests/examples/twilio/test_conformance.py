"""A call from Twilio does for a conversation what any other telephone line does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.examples.call_conformance import *  # noqa: F403 - these are the tests
from tests.examples.call_conformance import Converse, Phone, PlaceCall
from tests.examples.twilio.network import calling, config_for, running

pytestmark = pytest.mark.slow


@pytest.fixture
def place_call() -> PlaceCall:
    @asynccontextmanager
    async def place(converse: Converse) -> AsyncIterator[Phone]:
        config = config_for(numbers={"2000": "+15550122"}, fallback="2000")
        async with (
            running(converse, config) as network,
            calling(network, caller="caller", called="1000") as phone,
        ):
            yield phone

    return place
