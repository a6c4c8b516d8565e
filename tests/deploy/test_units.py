"""The systemd units, judged by systemd itself."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
MOST_EXPOSED = 2.5

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed (Debian: systemd)"
)


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root with systemd's own units, ours, and the programs that they start."""
    system = next(
        folder
        for folder in (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
        if folder.is_dir()
    )
    shutil.copytree(system, tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    shutil.copytree(DEPLOY / "systemd", tmp_path / "etc/systemd/system")
    programs = tmp_path / "opt/voice-services/current/deploy"
    programs.mkdir(parents=True)
    for program in ("run", "wait_for"):
        shutil.copy(DEPLOY / program, programs)
    (tmp_path / "opt/vllm/bin").mkdir(parents=True)
    shutil.copy(DEPLOY / "run", tmp_path / "opt/vllm/bin/vllm")
    return tmp_path


def instance_of(unit: Path) -> str:
    return unit.name.replace("@.", "@8001.")


def test_nothing_is_wrong_with_the_units(machine: Path) -> None:
    names = [instance_of(unit) for unit in UNITS]
    done = analyze("verify", "--man=no", f"--root={machine}", *names)
    ours = [line for line in done.stdout.splitlines() if "voice" in line]
    assert (done.returncode, ours) == (0, []), done.stdout


def test_what_is_added_to_nginxs_unit_is_understood(machine: Path) -> None:
    system = machine / "usr/lib/systemd/system"
    if not (system / "nginx.service").exists():
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    shutil.copytree(DEPLOY / "nginx.service.d", machine / "etc/systemd/system/nginx.service.d")
    for program in ("usr/sbin/nginx", "sbin/start-stop-daemon"):
        (machine / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEPLOY / "run", machine / program)
    done = analyze("verify", "--man=no", f"--root={machine}", "nginx.service")
    assert (done.returncode, done.stdout) == (0, "")


def test_it_would_be_told(machine: Path) -> None:
    """The check above sees a program that is not there and an option that does not exist."""
    unit = machine / "etc/systemd/system/voice-asr@.service"
    unit.write_text(unit.read_text().replace("PrivateTmp=yes", "PrivateTemp=yes"))
    (machine / "opt/voice-services/current/deploy/run").unlink()
    said = analyze("verify", "--man=no", f"--root={machine}", "voice-asr@8001.service").stdout
    assert re.search("Unknown key.* 'PrivateTemp'", said)
    assert "deploy/run is not executable" in said


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_is_not_exposed(unit: Path) -> None:
    threshold = f"--threshold={round(MOST_EXPOSED * 10)}"
    done = analyze("security", "--offline=true", threshold, str(unit))
    overall = re.search(r"Overall exposure level for \S+: (\S+)", done.stdout)
    assert overall and float(overall[1]) <= MOST_EXPOSED, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_says_how_it_starts_and_ends(unit: Path) -> None:
    text = unit.read_text()
    for setting in ("Type", "Restart", "RestartSec", "TimeoutStopSec", "User", "LimitCORE"):
        assert len(re.findall(rf"^{setting}=", text, re.MULTILINE)) == 1, setting
    if "vllm" not in text:
        assert "\nType=notify\n" in text and "\nWatchdogSec=" in text
    assert "StartLimitIntervalSec=" in text


def setting(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_every_service_is_a_user_of_its_own() -> None:
    """Who takes one over has not the keys, the voices and the calls of all."""
    users = [user for unit in SERVICES for user in setting(unit, "User")]
    assert len(set(users)) == len(users) == len(SERVICES)
    [administrator] = re.findall(r"^admin=(.*)$", (DEPLOY / "install.sh").read_text(), re.MULTILINE)
    assert administrator not in users
    for unit in SERVICES:
        assert setting(unit, "Group") == setting(unit, "User")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_systemd_gives_no_shared_folder_to_one_service(unit: Path) -> None:
    """It would change the owner of all that is in it."""
    for kind in ("StateDirectory", "CacheDirectory"):
        for folder in setting(unit, kind):
            assert folder.startswith(("voice-services/", "voice-llm")), folder
