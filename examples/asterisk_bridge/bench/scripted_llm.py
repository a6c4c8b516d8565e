"""An OpenAI-compatible server with a script for a model: what it answers, and when, is known.

Real HTTP with server-sent events. As a process of its own:

    python -m examples.asterisk_bridge.bench.scripted_llm --port 8011 --first-token-ms 50
"""

import argparse
import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


@dataclass(frozen=True)
class Line:
    """What is answered when the latest message matches."""

    pattern: str
    """Regular expression, anywhere in the caller's (or the tool's) words, whatever the case."""
    text: str = ""
    tool: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    """Another one is an error instead of an answer."""
    stall_after: int | None = None
    """Tokens after which nothing more comes."""


@dataclass
class Script:
    """Lines are tried in order; the last resort is `otherwise`."""

    lines: Sequence[Line] = ()
    otherwise: str = "I see. What else can I do for you today?"
    answers: Sequence[str] = ()
    """Instead of `otherwise`: in turn, over and over. `{n}` stands for the request's number."""
    first_token_s: float = 0.05
    token_s: float = 0.02
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies that came."""

    def line_for(self, messages: list[dict[str, Any]]) -> Line:
        heard = str(messages[-1].get("content") or "")
        for line in self.lines:
            if re.search(line.pattern, heard, re.IGNORECASE):
                return line
        if self.answers:
            number = len(self.requests)
            return Line("", self.answers[number % len(self.answers)].replace("{n}", str(number)))
        return Line("", self.otherwise)


def create_app(script: Script) -> Starlette:
    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    async def chat(request: Request) -> Response:
        body = await request.json()
        script.requests.append(body)
        line = script.line_for(body["messages"])
        if line.status != 200:
            return JSONResponse({"error": {"message": "scripted failure"}}, line.status)
        if not body.get("stream"):
            message = {"role": "assistant", "content": line.text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return JSONResponse({"object": "chat.completion", "choices": [choice]})
        return StreamingResponse(_events(script, line), media_type="text/event-stream")

    routes = [
        Route("/v1/models", models),
        Route("/v1/chat/completions", chat, methods=["POST"]),
    ]
    return Starlette(routes=routes)


async def _events(script: Script, line: Line) -> AsyncIterator[str]:
    await asyncio.sleep(script.first_token_s)
    tokens = re.findall(r"\S+\s*", line.text)
    for number, token in enumerate(tokens):
        if number == line.stall_after:
            await asyncio.sleep(3600)
        yield _chunk({"content": token})
        await asyncio.sleep(script.token_s)
    reason = "stop"
    if line.tool is not None:
        reason = "tool_calls"
        function = {"name": line.tool, "arguments": json.dumps(line.arguments)}
        call = {"index": 0, "id": f"call_{len(script.requests)}", "type": "function"}
        yield _chunk({"tool_calls": [{**call, "function": function}]})
    yield _chunk({}, reason)
    usage = {"prompt_tokens": 10, "completion_tokens": len(tokens), "total_tokens": 10}
    last = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
    yield f"data: {json.dumps(last)}\n\n"
    yield "data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {"id": "c", "object": "chat.completion.chunk", "model": "scripted", "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n"


@contextlib.contextmanager
def llm_server(script: Script) -> Iterator[str]:
    """The server in a thread of its own; gives its base URL, as LlmConfig wants it."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(script), log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(10.0)
        listening.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8011)
    parser.add_argument("--first-token-ms", type=float, default=50.0)
    parser.add_argument("--token-ms", type=float, default=20.0)
    parser.add_argument("--lines", help="a JSON file with a list of lines")
    parser.add_argument("--answers", help="a text file with an answer in each line")
    options = parser.parse_args()
    lines: list[Line] = []
    if options.lines:
        with open(options.lines, encoding="utf-8") as file:
            lines = [Line(**line) for line in json.load(file)]
    answers: list[str] = []
    if options.answers:
        with open(options.answers, encoding="utf-8") as file:
            answers = file.read().splitlines()
    script = Script(
        lines,
        answers=answers,
        first_token_s=options.first_token_ms / 1000,
        token_s=options.token_ms / 1000,
    )
    uvicorn.run(create_app(script), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
