"""Structured logs: one event a line, JSON or for the console, with the session id bound.

What people say is nobody's business who reads logs. An event with `content=` is only logged where
the operator wants that (`log.content`), and `quotes=`, a sentence that may quote what a client
sent, is left out of an event elsewhere.
"""

import logging
import sys

import structlog

from services.shared.runtime.config import LogConfig


def configure_logs(config: LogConfig, service: str) -> None:
    """Route structlog and the standard library's logging to stderr in the configured format."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        _discreet(config.content),
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _name_service(service),
    ]
    renderer: structlog.types.Processor
    if config.format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        # Plain: the rich tracebacks show local variables, which hold what people said.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    # One line a connection is the service's own business; the server's would double it.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)


def _discreet(content: bool) -> structlog.types.Processor:
    def withhold(
        _logger: structlog.types.WrappedLogger, _method: str, event: structlog.types.EventDict
    ) -> structlog.types.EventDict:
        if not content:
            if "content" in event:
                raise structlog.DropEvent
            event.pop("quotes", None)
        return event

    return withhold


def _name_service(service: str) -> structlog.types.Processor:
    def add(
        _logger: structlog.types.WrappedLogger, _method: str, event: structlog.types.EventDict
    ) -> structlog.types.EventDict:
        event["service"] = service
        return event

    return add
