"""Fixtures that the whole suite shares."""

import pytest

from services.shared.models.download import Downloader
from services.shared.models.store import ModelStatus, ModelStore

_FETCH_S = 600
"""Time limit of tests marked `models` while the default models still have to be fetched."""


def _is_complete(store: ModelStore) -> bool:
    return all(store.status(id) is ModelStatus.PRESENT for id in store.catalogue.default_ids)


@pytest.fixture(scope="session")
def model_store() -> ModelStore:
    """This machine's models with the default set in it, fetched when it is not there yet.

    For tests marked `models`.
    """
    store = ModelStore()
    Downloader(store).download(store.catalogue.default_ids)
    return store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the first test that needs models take as long as fetching 150 MB may take."""
    needing = [item for item in items if item.get_closest_marker("models")]
    if needing and not _is_complete(ModelStore()):
        for item in needing:
            item.add_marker(pytest.mark.timeout(_FETCH_S))
