"""The scripted language model over HTTP."""

import time

import httpx

from examples.asterisk_bridge.bench.scripted_llm import Line, Script, llm_server


def asked(url: str, text: str) -> tuple[float, str]:
    """Seconds to the first byte of the answer, and all of it."""
    body = {"stream": True, "messages": [{"role": "user", "content": text}]}
    began = time.monotonic()
    first_s = 0.0
    whole = ""
    with httpx.stream("POST", f"{url}/chat/completions", json=body, trust_env=False) as answer:
        for piece in answer.iter_text():
            first_s = first_s or time.monotonic() - began
            whole += piece
    return first_s, whole


def test_answers_come_in_turn_numbered_and_not_too_soon() -> None:
    script = Script([Line("hello", "Hi.")], answers=["One.", "Number {n}."], first_token_s=0.1)
    with llm_server(script) as url:
        first_s, first = asked(url, "what?")
        _, second = asked(url, "and?")
        _, matched = asked(url, "Hello there")
    assert first_s >= 0.1
    assert '"Number "' in first and '"1."' in first
    assert '"One."' in second
    assert '"Hi."' in matched
