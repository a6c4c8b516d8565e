"""`python -m services.tts [--config FILE]` runs the TTS service."""

import sys

from services.shared.runtime.server import run_service
from services.tts.app import create_app
from services.tts.config import DEFAULT_CONFIG, TtsConfig

if __name__ == "__main__":
    sys.exit(run_service("tts", TtsConfig, DEFAULT_CONFIG, create_app))
