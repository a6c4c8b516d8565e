#!/bin/sh
# Run the ASR service in the foreground. Options go to it: --config FILE
cd "$(dirname "$0")/.." && exec uv run python -m services.asr "$@"
