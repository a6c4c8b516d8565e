#!/bin/sh
# Run the TTS service in the foreground. Options go to it: --config FILE
cd "$(dirname "$0")/.." && exec uv run python -m services.tts "$@"
