"""What is refused before nginx sees it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.balancer.plan import Plan

GOOD: dict[str, Any] = {"asr": ["127.0.0.1:8001"], "tts": {"default": ["127.0.0.1:8002"]}}


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8001", "asr-1.internal:80", "[::1]:8001", "unix:/run/voice/asr.sock"],
)
def test_addresses_that_nginx_knows(address: str) -> None:
    assert Plan(**{**GOOD, "asr": [address]}).asr == (address,)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("asr", ["127.0.0.1"], "is no address"),
        ("asr", ["127.0.0.1:0"], "is no address"),
        ("asr", ["127.0.0.1:70000"], "is no address"),
        ("asr", ["127.0.0.1:8001; return 200"], "is no address"),
        ("asr", ["127.0.0.1:8001\n"], "is no address"),
        ("asr", ["$host:8001"], "is no address"),
        ("asr", ["127.0.0.1:8001", "127.0.0.1:8001"], "named twice"),
        ("asr", ["127.0.0.1:8002"], "named twice"),
        ("tts", {"default": []}, "at least 1 item"),
        ("tts", {"a b": ["127.0.0.1:8002"]}, "String should match"),
        ("voices", {"vi": "fastpitch"}, "there is no group 'fastpitch'"),
        ("voices", {"vi;": "default"}, "String should match"),
        ("listen", "everywhere", "nothing to listen on"),
        ("inner", "8080", "no loopback address"),
        ("inner", "10.0.0.1:8080", "no loopback address"),
        ("server_name", "a b", "String should match"),
        ("access_log", Path("access.log"), "an absolute path"),
        ("access_log", Path("/var/log/a b"), "an absolute path"),
        ("tls", {"certificate": "/c", "key": "/k;"}, "an absolute path"),
        ("limits", {"trusted": ["10.0.0.0/33"]}, "10.0.0.0/33"),
        ("limits", {"trusted": ["10.0.0.1/8"]}, "has host bits set"),
        ("limits", {"address_rate": -1}, "greater than or equal to 0"),
        ("uploads", {"asr_mb": 0}, "greater than or equal to 1"),
        ("worker", 1, "Extra inputs"),
    ],
)
def test_what_is_refused(field: str, value: object, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Plan(**{**GOOD, field: value})


def test_all_addresses_are_not_one() -> None:
    with pytest.raises(ValidationError, match="a PORT is wanted"):
        Plan(**GOOD, listen="127.0.0.1:443", ipv6=True)


def test_one_service_alone_is_enough() -> None:
    assert Plan(asr=("a:1",)).default_tts is None
    assert Plan(tts={"piper": ("b:1",)}).asr == ()
    with pytest.raises(ValidationError, match="instances of one of them at least"):
        Plan()
    with pytest.raises(ValidationError, match="there is no group 'piper', only none"):
        Plan(asr=("a:1",), voices={"joe": "piper"})


def test_the_first_group_is_the_default() -> None:
    plan = Plan(asr=("a:1",), tts={"piper": ("b:1",), "chatterbox": ("c:1",)})
    assert plan.default_tts == "piper"
