"""Take calls from Twilio: `python -m examples.twilio [--config FILE]`."""

import argparse
import asyncio
import sys
from pathlib import Path

import structlog

from examples.twilio.app import create_app
from examples.twilio.calls import TwilioCalls
from examples.twilio.config import TwilioConfig, load_config
from examples.twilio.messages import FORMAT
from examples.twilio.transport import LARGEST
from examples.voice_agent.agent_calls import agent_calls
from examples.voice_agent.http_server import listening
from examples.voice_agent.logs import configure_logging
from examples.voice_agent.stopping import told_to_end
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.vitals import observing
from examples.voice_agent.yaml_settings import ConfigError

log = structlog.get_logger(__name__)


async def serve(config: TwilioConfig) -> None:
    """Until SIGTERM or SIGINT.

    Raises:
        StoreError: the agents cannot be had.
        OSError: the port is taken.
    """
    stopping = told_to_end()
    host, port = config.server.host, config.server.port
    async with (
        observing() as vitals,
        agent_calls(config.agents, FORMAT, vitals) as converse,
    ):
        calls = TwilioCalls(config, converse, lambda: vitals.lag.worst_s, vitals)
        app = create_app(config, calls)
        async with listening(app, host, port, ws_max_size=LARGEST) as url:
            webhook = config.server.address("/twilio/voice")
            log.info("twilio_ready", listens=url, webhook=webhook)
            await stopping.wait()
            log.info("twilio_drains", seconds=config.calls.drain_s)
            await calls.drain()


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 fine, 1 the port is taken, 2 configuration."""
    parser = argparse.ArgumentParser(prog="python -m examples.twilio", description=__doc__)
    parser.add_argument("--config", type=Path, help="default: config.yaml beside the program")
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.config)
        configure_logging(config.log)
        asyncio.run(serve(config))
    except (ConfigError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
