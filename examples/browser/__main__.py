"""Run the voice chat: `python -m examples.browser [--agent FILE] [--port N]`."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvicorn
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from pydantic import ValidationError

from examples.browser.app import create_app
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.settings import load_settings
from examples.voice_agent.store.errors import StoreError
from services.shared.protocol.codec import describe

_AGENT = Path(__file__).parents[1] / "agent.yaml"


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 fine, 2 configuration."""
    parser = argparse.ArgumentParser(prog="python -m examples.browser", description=__doc__)
    parser.add_argument("--agent", type=Path, default=_AGENT, help="YAML, as `voice agent create`")
    parser.add_argument("--config", type=Path, help="where the services are: voice-agent.yaml")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8020)
    parser.add_argument("--max-calls", type=int, default=8)
    parser.add_argument("--metrics-port", type=int, help="for Prometheus, on 127.0.0.1 only")
    given = parser.parse_args(arguments)
    try:
        agent = AgentConfig.model_validate(yaml.safe_load(given.agent.read_text()))
        services = load_settings(given.config).services()
    except ValidationError as error:
        sys.stderr.write(f"{given.agent}: {describe(error)}\n")
        return 2
    except (OSError, yaml.YAMLError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    registry = CollectorRegistry()
    app = create_app(agent, services, max_calls=given.max_calls, registry=registry)
    with ExitStack() as stack:
        try:
            stack.enter_context(_metrics(given.metrics_port, registry))
        except OSError as error:
            sys.stderr.write(f"port {given.metrics_port}: {error}\n")
            return 1
        uvicorn.run(app, host=given.host, port=given.port, ws_max_size=1 << 16, log_level="warning")
    return 0


@contextmanager
def _metrics(port: int | None, registry: CollectorRegistry) -> Iterator[None]:
    """Tell them apart from the page, which is for everybody."""
    if port is None:
        yield
        return
    ProcessCollector(registry=registry)
    server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
