"""What the README says of files, settings and code is so."""

import re
from pathlib import Path

import yaml

from examples.twilio.calls import _ASKS_S, _START_S, _STRANGERS
from examples.twilio.config import AudioConfig, TwilioConfig
from examples.twilio.transport import LARGEST

_FOLDER = Path(__file__).parents[3] / "examples" / "twilio"
_TEXT = (_FOLDER / "README.md").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", _TEXT) if not link.startswith("http")]
    assert len(links) >= 4
    assert [link for link in links if not (_FOLDER / link).exists()] == []


def test_settings_exist() -> None:
    told = re.findall(r"`(server|account|audio|calls|agents)\.(\w+)", _TEXT)
    assert len(told) > 8
    for section, key in told:
        model = TwilioConfig.model_fields[section].annotation
        assert model is not None and key in model.model_fields, f"{section}.{key}"


def test_figures_are_those_of_the_code() -> None:
    assert f"(`audio.lead_ms`, {AudioConfig().lead_ms})" in _TEXT
    assert f"within {_START_S:g} s is closed" in _TEXT and f"{_STRANGERS} at a time" in _TEXT
    assert f"{LARGEST >> 10} KiB" in _TEXT and f"Twilio {_ASKS_S:g} s to ask" in _TEXT


def test_the_file_beside_the_program_says_the_defaults() -> None:
    told = yaml.safe_load((_FOLDER / "config.yaml").read_text())
    told["server"]["public_url"] = address = "https://calls.example.com"
    plain = {"server": {"public_url": address}}
    assert TwilioConfig.model_validate(told) == TwilioConfig.model_validate(plain)


def test_files_of_the_code_map_exist() -> None:
    for name in re.findall(r"(\w+\.(?:py|yaml))", _TEXT.split("## The code")[1]):
        assert list(_FOLDER.rglob(name)) or name == "call_conformance.py" or name == "network.py"
