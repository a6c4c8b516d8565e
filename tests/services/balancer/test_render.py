"""The configuration as text; that it works is tried in test_nginx.py."""

from pathlib import Path
from typing import Any

import pytest

from services.balancer.plan import ClientLimits, Plan, Tls
from services.balancer.process import check_configuration
from services.balancer.render import render, render_whole

PLANS: dict[str, dict[str, Any]] = {
    "one and one": {"asr": ("127.0.0.1:8001",), "tts": {"default": ("127.0.0.1:8002",)}},
    "recognition alone": {"asr": ("127.0.0.1:8001",)},
    "synthesis alone": {"tts": {"default": ("127.0.0.1:8002",), "nova": ("127.0.0.1:8003",)}},
    "many, of every kind": {
        "asr": tuple(f"10.0.0.{host}:8001" for host in range(1, 100)),
        "tts": {
            "chatterbox": ("[::1]:8002", "unix:/run/voice/tts.sock"),
            "default": ("localhost:8003",),
            "nova": ("127.0.0.1:8005",),
            "nova_ready": ("127.0.0.1:8006",),
        },
        # What nginx's maps take for words of their own, or for a line's end.
        "voices": {"default": "nova", "include": "nova", "nova": "nova", "t": "nova", "r": "nova"},
        "access_log": Path("/dev/null"),
        "status": "127.0.0.1:18009",
    },
    "without limits": {
        "asr": ("127.0.0.1:8001",),
        "tts": {"default": ("127.0.0.1:8002",)},
        "limits": ClientLimits(
            address_connections=0, key_connections=0, address_rate=0, key_rate=0, trusted=()
        ),
    },
    "without bursts": {
        "asr": ("127.0.0.1:8001",),
        "tts": {"default": ("127.0.0.1:8002",)},
        "limits": ClientLimits(address_burst=0, key_burst=0, trusted=("fd00::/8",)),
    },
}


@pytest.mark.parametrize("name", PLANS)
async def test_nginx_takes_it(name: str, tmp_path: Path) -> None:
    plan = Plan(listen="127.0.0.1:18080", **PLANS[name])
    path = tmp_path / "nginx.conf"
    path.write_text(render_whole(plan, tmp_path, workers=1))
    await check_configuration(path, tmp_path)


def test_nothing_is_left_to_fill_in() -> None:
    plan = Plan(**PLANS["many, of every kind"])
    assert "@{" not in render_whole(plan, Path("/srv/nginx"))


def test_the_shared_example_is_what_is_rendered() -> None:
    """`nginx/voice.conf`: the command in its README makes it."""
    plan = Plan(
        asr=("127.0.0.1:8001", "127.0.0.1:8011"),
        tts={"chatterbox": ("127.0.0.1:8002", "127.0.0.1:8012"), "fastpitch": ("127.0.0.1:8003",)},
        voices={"ljspeech": "fastpitch", "vi": "fastpitch"},
        server_name="voice.example.org",
        tls=Tls(
            certificate=Path("/etc/voice-services/tls/fullchain.pem"),
            key=Path("/etc/voice-services/tls/key.pem"),
        ),
        inner="127.0.0.1:8080",
        status="127.0.0.1:8009",
        access_log=Path("/var/log/nginx/voice.log"),
    )
    example = Path(__file__).parents[3] / "nginx" / "voice.conf"
    assert example.read_text() == render(plan), "render it again: nginx/README.md"
