"""What an OpenAI-compatible server is asked. Sans I/O."""

import json
from collections.abc import Sequence
from typing import Any

from examples.voice_agent.config import LlmConfig
from examples.voice_agent.ports import ChatMessage, ToolCall, ToolSpec


def request_body(
    config: LlmConfig,
    model: str,
    messages: Sequence[ChatMessage],
    tools: Sequence[ToolSpec],
) -> dict[str, Any]:
    """The body of `POST /chat/completions`.

    The same messages and tools give the same bytes, so that a server that caches prefixes finds
    the system message, the tools and the history again.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": config.max_tokens,
    }
    if config.temperature is not None:
        body["temperature"] = config.temperature
    if tools:
        body["tools"] = [openai_tool(tool) for tool in tools]
    body |= config.extra
    return {key: value for key, value in body.items() if value is not None}


def openai_tool(tool: ToolSpec) -> dict[str, Any]:
    """A tool as the API wants it described."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def _message(message: ChatMessage) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def names_of_tools(messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> set[str]:
    """Those on offer and those that were called before: names that calls in the text may have."""
    called = {call.name for message in messages for call in message.tool_calls}
    return called | {tool.name for tool in tools}
