"""What the operator's manual names is there."""

import re
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.balancer.cli import app as nginx
from services.cli.main import COMMANDS

FOLDER = Path(__file__).parents[2] / "deploy"
TEXT = (FOLDER / "README.md").read_text()
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")


def help_of_the_installer() -> str:
    return subprocess.run(
        [FOLDER / "install.sh", "help"], capture_output=True, text=True, check=True
    ).stdout


def test_links_lead_somewhere() -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", TEXT)]
    local = [link for link in links if not link.startswith("http")]
    assert len(local) > 5
    assert [link for link in local if not (FOLDER / link).exists()] == []


def test_options_of_the_installer_exist() -> None:
    known = help_of_the_installer()
    lines = [line for line in BLOCKS.splitlines() if "deploy/install.sh" in line]
    assert len(lines) > 4
    for line in lines:
        outside = re.sub(r'"[^"]*"', "", line).partition("#")[0]
        command = outside.split("deploy/install.sh", 1)[1].split()[0]
        assert f"install.sh {command}" in known or command == "upgrade", line
        for option in re.findall(r"--[a-z-]+", outside):
            assert option in known, option


def test_options_of_nginx_exist() -> None:
    command = typer.main.get_command(nginx)
    known = {option for parameter in command.params for option in parameter.opts}
    named = re.findall(r'--nginx "([^"]*)"', BLOCKS) + re.findall(r"^voice nginx .*$", BLOCKS, re.M)
    assert len(named) > 3
    for text in named:
        for option in re.findall(r"--[a-z-]+", text):
            assert option in known, option


def test_commands_exist() -> None:
    known = {command.name for command in COMMANDS} | {"agent"}
    for name in re.findall(r"\bvoice ([a-z]+)\b(?= |`)", BLOCKS):
        assert name in known, name


@pytest.mark.parametrize("page", ["nginx/README.md", "services/balancer/README.md"])
def test_what_the_pages_of_nginx_say_can_be_run(page: str, tmp_path: Path) -> None:
    text = (FOLDER.parent / page).read_text().replace("\\\n", " ")
    (command,) = re.findall(r"^voice nginx (.*)$", text, re.M)
    arguments = re.sub(r"--out \S+", "", command).split() + ["--no-check"]
    done = CliRunner().invoke(nginx, arguments)
    assert done.exit_code == 0, done.output
    assert "upstream voice_asr {" in done.stdout
