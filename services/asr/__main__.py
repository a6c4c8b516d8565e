"""`python -m services.asr [--config FILE]` runs the ASR service."""

import sys

from services.asr.app import create_app
from services.asr.config import DEFAULT_CONFIG, AsrConfig
from services.shared.runtime.server import run_service

if __name__ == "__main__":
    sys.exit(run_service("asr", AsrConfig, DEFAULT_CONFIG, create_app))
