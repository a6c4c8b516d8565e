"""`deploy/install.sh`, in a folder instead of on the machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SCRIPTS = ["install.sh", "run", "voice", "wait_for"]

needs_tools = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("git", "uv")) or not (PROJECT / ".git").exists(),
    reason="a release is made of what git knows, by uv",
)


def install(
    checkout: Path, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [checkout / "deploy/install.sh", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def installed(checkout: Path, root: Path, command: str, *arguments: str) -> str:
    done = install(checkout, command, "--root", str(root), *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="shellcheck is not installed (Debian: shellcheck)"
)
@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    done = subprocess.run(
        ["shellcheck", PROJECT / "deploy" / script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@needs_tools
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_dry_run_tells_and_changes_nothing(command: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    said = installed(PROJECT, root, command, "--dry-run", "--bridge", "--llm", "--stack", "nemo")
    if command == "install":
        for step in ("uv sync", "make_engine_env.sh", "voice-llm.service", "voice nginx"):
            assert step in said, said
    assert not root.exists()


@needs_tools
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["install", "--prots", "1"], "--prots is no option"),
        (["install", "--asr"], "--asr wants a value"),
        (["install", "--asr", "8001;reboot"], "ports with commas between"),
        (["rollback"], "there is no release before this one"),
        (["reinstall"], "deploy/install.sh install"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    options = ["--root", str(tmp_path / "root"), "--dry-run"]
    done = install(PROJECT, arguments[0], *options, *arguments[1:])
    assert done.returncode in (1, 2)
    assert sentence in done.stdout


@needs_tools
def test_a_checkout_that_git_cannot_name_costs_no_release(tmp_path: Path) -> None:
    """Also one of another user, whom git does not trust: without a name it was all of them."""
    checkout, releases = tmp_path / "checkout", tmp_path / "root/opt/voice-services/releases"
    shutil.copytree(PROJECT / "deploy", checkout / "deploy")
    (releases / "before").mkdir(parents=True)
    done = install(
        checkout, "install", "--root", str(tmp_path / "root"), GIT_CEILING_DIRECTORIES=str(tmp_path)
    )
    assert (done.returncode, "git cannot say which version" in done.stdout) == (1, True)
    assert (releases / "before").exists()


def version_in_use(root: Path) -> str:
    return (root / "opt/voice-services/current").readlink().name


def git(checkout: Path, *arguments: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", checkout, *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone, with this folder's scripts and units as they are now."""
    clone = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
    shutil.copytree(PROJECT / "deploy", clone / "deploy", dirs_exist_ok=True)
    git(clone, "add", "deploy")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "as it is now")
    return clone


@pytest.fixture
def quick(checkout: Path, tmp_path: Path) -> Callable[..., str]:
    """Installs below `root`, in the tests' own environment; uv's part is tried below."""
    programs, root = tmp_path / "bin", tmp_path / "root"
    programs.mkdir()
    uv = programs / "uv"
    uv.write_text(f"""#!/bin/sh
        echo "uv $*"
        while [ "$1" != --directory ]; do shift; done
        mkdir -p "$2/.venv/bin" && ln -s /bin/true "$2/.venv/bin/python"
        voice="$2/.venv/bin/voice"
        printf '#!/bin/sh\\nexec {sys.executable} -m services.cli.main "$@"\\n' >"$voice"
        chmod 755 "$voice"
    """)
    uv.chmod(0o755)

    def run(*arguments: str) -> str:
        options = ("--root", str(root), "--models", "none", *arguments)
        path = f"{programs}:{os.environ['PATH']}"
        done = install(checkout, "install", *options, PATH=path, PYTHONPATH=str(PROJECT))
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@needs_tools
def test_other_groups_make_another_release(quick: Callable[..., str], tmp_path: Path) -> None:
    """The one that is there may be running."""

    def release(*arguments: str) -> tuple[str, str]:
        said = quick("--no-nginx", *arguments)
        return version_in_use(tmp_path / "root"), said

    first, said = release("--groups", "asr,tts")
    assert "--group asr --group tts" in said and "otel" not in said
    second, said = release("--groups", "asr,tts,otel")
    assert second.startswith(f"{first}-") and "--group otel" in said
    assert f"release {second} is there" not in said
    again, said = release()
    assert again == second and f"release {second} is there" in said
    back, said = release("--groups", "asr,tts")
    assert back == first and f"release {first} is there" in said


@needs_tools
def test_one_service_alone(quick: Callable[..., str], tmp_path: Path) -> None:
    """Recognition and synthesis may be on machines of their own."""
    etc, site = tmp_path / "root/etc/voice-services", tmp_path / "root/etc/nginx/conf.d/voice.conf"

    def instances() -> set[str]:
        return {path.stem for path in etc.glob("*-*.env")}

    said = quick("--tts", "none", "--asr", "8001")
    assert instances() == {"asr-8001"} and "voice-tts@8" not in said
    assert "upstream voice_tts" not in site.read_text()
    again = quick()
    assert instances() == {"asr-8001"} and "+ write" not in again
    quick("--asr", "none", "--tts", "8002")
    assert instances() == {"tts-8002"}
    assert "upstream voice_asr" not in site.read_text()
    both = quick("--asr", "8001")
    assert instances() == {"asr-8001", "tts-8002"} and "voice-asr@8001.service" in both


@needs_tools
def test_a_machine_of_nginx_alone(quick: Callable[..., str], tmp_path: Path) -> None:
    options = "--plain --listen 127.0.0.1:8080 --asr 10.0.0.1:8001 --tts 10.0.0.2:8002"
    quick("--asr", "none", "--tts", "none", "--no-nginx")
    site = tmp_path / "root/etc/nginx/conf.d/voice.conf"
    assert not site.exists()
    said = quick("--nginx", options)
    assert "server 10.0.0.2:8002 " in site.read_text() and "voice-asr@8" not in said


@needs_tools
def test_beside_tls_there_is_an_address_for_this_machine(
    quick: Callable[..., str], tmp_path: Path
) -> None:
    """Where the bridge is told to look for the services."""
    options = "--certificate /chain.pem --key /key.pem --no-check"
    quick("--bridge", "--nginx", options)
    site = (tmp_path / "root/etc/nginx/conf.d/voice.conf").read_text()
    assert "listen 443 ssl;" in site and "listen 127.0.0.1:8080;" in site
    settings = (tmp_path / "root/etc/voice-services/voice-agent.yaml").read_text()
    assert "asr_url: http://127.0.0.1:8080 " in settings


@needs_tools
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_install_upgrade_rollback_uninstall(checkout: Path, tmp_path: Path) -> None:
    """What happens below a root; with systemd and a running nginx it was tried by hand."""
    root = tmp_path / "root"
    options = ("--groups", "tts", "--models", "none", "--bridge")

    installed(checkout, root, "install", *options, "--tts", "8002,8012,8022")
    first = version_in_use(root)
    units = root / "etc/systemd/system"
    assert {unit.name for unit in units.iterdir()} == {
        "voice.target", "voice-asr@.service", "voice-tts@.service", "voice-bridge.service",
        "nginx.service.d",
    }  # fmt: skip
    assert "Restart=" in (units / "nginx.service.d/voice.conf").read_text()
    site = (root / "etc/nginx/conf.d/voice.conf").read_text()
    for part in ("127.0.0.1:8022", "listen 127.0.0.1:8080;", "listen 127.0.0.1:8009;"):
        assert part in site

    # What the operator changed stays; nothing is made again; instances are as they were.
    configuration = root / "etc/voice-services/tts.yaml"
    configuration.write_text("# mine\n")
    again = installed(checkout, root, "install", *options)
    assert "is there" in again and "+ write" not in again and "uv sync" not in again
    assert configuration.read_text() == "# mine\n"

    # Old releases go, but for those that still run.
    old = root / "opt/voice-services/releases/old"
    for name in ("old", "newer", "new", "newest"):
        (old.parent / name / ".venv/bin").mkdir(parents=True)
    (old / ".venv/bin/python").symlink_to(sys.executable)
    os.utime(old, (0, 0))
    code = "import sys; print(flush=True); sys.stdin.read()"
    python = [str(old / ".venv/bin/python"), "-c", code]
    with subprocess.Popen(python, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        installed(checkout, root, "install", *options)
        assert old.exists()
        running.communicate()
    installed(checkout, root, "install", *options)
    assert not old.exists()

    # A process goes on with its own release when there is another one.
    run = [str(root / "opt/voice-services/current/deploy/run"), "site"]
    before = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert f"releases/{first}/.venv" in before and "/current/" not in before

    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "the next one")
    installed(checkout, root, "upgrade")  # with the options of the first time
    assert not list(root.glob("opt/voice-services/current/.venv/lib/*/site-packages/ctranslate2"))
    second = version_in_use(root)
    assert second != first
    after = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert f"releases/{second}/.venv" in after

    installed(checkout, root, "rollback")
    assert version_in_use(root) == first
    installed(checkout, root, "rollback")
    assert version_in_use(root) == second

    # An instance less.
    installed(checkout, root, "install", *options, "--tts", "8002")
    assert "127.0.0.1:8012" not in (root / "etc/nginx/conf.d/voice.conf").read_text()
    assert (root / "etc/voice-services/tts-8012.env.removed").exists()

    installed(checkout, root, "uninstall")
    assert configuration.exists() and not (root / "opt/voice-services").exists()
    assert list(units.iterdir()) == []
    installed(checkout, root, "uninstall", "--purge")
    assert not configuration.exists()
