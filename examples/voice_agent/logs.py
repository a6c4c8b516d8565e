"""How programs that carry calls log: lines on standard error."""

import sys
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LogConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "console"


def configure_logging(config: LogConfig) -> None:
    """JSON lines or coloured text."""
    render: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if config.format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[config.level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
