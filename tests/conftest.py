"""What the whole suite shares."""

import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from services.shared.models.download import Downloader
from services.shared.models.store import ModelStatus, ModelStore
from tests.services.serving import standstills

# An example that takes long tells of a busy machine; whole tests have their limit.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")

_FETCH_S = 600
"""Time limit of tests marked `models` while the default models still have to be fetched."""

_TRIES = 3
_RAN = "ran"
"""Property of a report: how often its test ran."""
_STOOD_STILL_S = 0.1


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


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test marked `real_time` again that failed while the machine stood still."""
    if item.get_closest_marker("real_time") is None or not isinstance(item, pytest.Function):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for ran in range(1, _TRIES + 1):
        with standstills() as stood:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        for report in reports:
            report.user_properties.append((_RAN, ran))
        if stood.worst_s < _STOOD_STILL_S or not any(report.failed for report in reports):
            break
        item._initrequest()  # its fixtures are set up anew
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which tests needed more than one try."""
    reports = [each for category in terminalreporter.stats.values() for each in category]
    ran = {
        report.nodeid: times
        for report in reports
        for what, times in getattr(report, "user_properties", ())
        if what == _RAN
    }
    for test, times in ran.items():
        if times > 1:
            terminalreporter.write_line(f"RAN {times} TIMES, the machine stood still: {test}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the first test that needs models take as long as fetching 150 MB may take."""
    needing = [item for item in items if item.get_closest_marker("models")]
    if needing and not _is_complete(ModelStore()):
        for item in needing:
            item.add_marker(pytest.mark.timeout(_FETCH_S))
