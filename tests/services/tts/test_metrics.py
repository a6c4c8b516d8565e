"""What /metrics tells."""

from pathlib import Path

import httpx

import services.tts
from tests.services import metrics_table
from tests.services.serving import LiveService

README = (Path(services.tts.__path__[0]) / "README.md").read_text(encoding="utf-8")


def test_the_table_of_the_readme_is_what_the_service_tells(live: LiveService) -> None:
    wanted = {"text": "Good morning."}
    answer = httpx.post(f"{live.http}/v1/synthesize", json=wanted, trust_env=False)
    assert answer.status_code == 200
    metrics_table.check(README, metrics_table.families(live))
