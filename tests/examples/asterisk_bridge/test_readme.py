"""What the README says of files, settings and code is so."""

import inspect
import re
from pathlib import Path

from examples.asterisk_bridge.config import BridgeConfig

_FOLDER = Path(__file__).parents[3] / "examples" / "asterisk_bridge"
_TEXT = (_FOLDER / "README.md").read_text()


def test_the_conversation_is_one() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", _TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert inspect.iscoroutinefunction(names["converse"])


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", _TEXT)
    assert len(links) > 6
    assert [link for link in links if not (_FOLDER / link).exists()] == []


def test_settings_exist() -> None:
    sections = BridgeConfig.model_fields
    for section, key in re.findall(r"`(ari|media|calls|conversation)\.(?!conf`)(\w+)`", _TEXT):
        model = sections[section].annotation
        assert model is not None and key in model.model_fields, f"{section}.{key}"


def test_files_of_the_code_map_exist() -> None:
    for name in re.findall(r"(\w+\.py)", _TEXT.split("## The code")[1].split("## Try it")[0]):
        assert list(_FOLDER.rglob(name)), name
