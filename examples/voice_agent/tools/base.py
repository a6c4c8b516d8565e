"""How a tool is made: a class with a name, a description, typed parameters and `execute`.

A package of its own offers one by an entry point of the group `voice_agent.tools`:

    [project.entry-points."voice_agent.tools"]
    opening_hours = "my_package:OpeningHours"
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from examples.voice_agent.chat_request import openai_tool
from examples.voice_agent.ports import ToolContext, ToolResult, ToolSpec
from examples.voice_agent.secrets import SecretError, read_secret
from examples.voice_agent.tools.schema import parameters_schema

SET_UP = "This system is not set up; the caller cannot do anything about it."


class PluginError(Exception):
    """A tool failed in a way that it knows.

    Args:
        message: for the model: what is wrong, and what it or the caller can do.
        retryable: the same may succeed a moment later.
        reason: for the log, when it is more than the model shall know.
    """

    def __init__(self, message: str, *, retryable: bool = False, reason: str = "") -> None:
        super().__init__(message)
        self.retryable = retryable
        self.reason = reason or message


class Parameters(BaseModel):
    """What the model fills in. Numbers are taken for text, since models forget quotation marks."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class ToolSettings(BaseModel):
    """What every tool can be told in an agent's `tool_settings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """Instead of the tool's own."""
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 8.0
    """Of one call, with its repetitions."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """Only of tools that only read."""
    result_characters: Annotated[int, Field(ge=50, le=100_000)] = 4000
    """What is longer is cut."""


ParametersT = TypeVar("ParametersT", bound=Parameters)
SettingsT = TypeVar("SettingsT", bound=ToolSettings)
PluginResult = str | Mapping[str, Any] | ToolResult


class ExternalPlugin(ABC, Generic[ParametersT, SettingsT]):
    """A tool with its settings; one serves all calls of an agent, many at once."""

    name: str
    description: str
    """For the model: what it does, and when to use it."""
    parameters: type[ParametersT]
    settings_type: type[SettingsT]
    read_only: bool = False
    """It changes nothing anywhere: it may run before the caller's turn is surely over, and again
    when it failed."""

    def __init__(self, settings: SettingsT, *, name: str | None = None) -> None:
        """Must neither connect nor read files: agents are checked by making their tools."""
        self.settings = settings
        self.name = name or type(self).name
        self.description = settings.description or type(self).description

    @abstractmethod
    async def execute(self, params: ParametersT, context: ToolContext) -> PluginResult:
        """Do it, and say what came of it.

        Raises:
            PluginError: anything else that is raised is logged, and the model is told no details.
        """

    def missing(self) -> Sequence[str]:
        """Sentences about what is still to be set up on this machine, e.g. secrets."""
        return ()

    async def aclose(self) -> None:
        """No more calls come."""

    def to_spec(self) -> ToolSpec:
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=parameters_schema(self.parameters),
            side_effects=not self.read_only,
        )

    def to_openai_tool(self) -> dict[str, Any]:
        """As the chat API wants it described."""
        return openai_tool(self.to_spec())


def secret(variable: str) -> str:
    """A secret out of the environment.

    Raises:
        PluginError: it is not set, or not for agents.
    """
    try:
        return read_secret(variable)
    except SecretError as error:
        raise PluginError(SET_UP, reason=str(error)) from None


def missing_secrets(*variables: str | None) -> list[str]:
    """A sentence for each that cannot be had."""
    return [
        problem
        for variable in variables
        if variable is not None and (problem := _problem(variable)) is not None
    ]


def _problem(variable: str) -> str | None:
    try:
        read_secret(variable)
    except SecretError as error:
        return f"{str(error)[0].upper()}{str(error)[1:]}."
    return None


def optional_library(module: str, package: str) -> ModuleType:
    """A library that not every installation has.

    Raises:
        PluginError: it is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise PluginError(
            SET_UP,
            reason=f"{package} is not installed: uv sync --group agent (or pip install {package})",
        ) from None
