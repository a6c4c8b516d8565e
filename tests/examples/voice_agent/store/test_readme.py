"""What the README shows is true."""

import re
from pathlib import Path

import yaml

from examples.voice_agent.schedule import Schedule, Weekday
from examples.voice_agent.store.models import Base

README = Path(__file__).parents[4] / "examples/voice_agent/store/README.md"


def test_its_schedule_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    schedule = Schedule.model_validate(yaml.safe_load(block))
    assert schedule.hours[1].days == {Weekday.SAT}


def test_it_tells_of_every_table() -> None:
    told = re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(told) == set(Base.metadata.tables)
