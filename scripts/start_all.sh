#!/bin/sh
# Run two ASR and two TTS instances in the foreground, behind nginx at 127.0.0.1:8080. Options go to
# `voice up`, the last one counts: --instances 1, --port 8000, --asr-config FILE, …
cd "$(dirname "$0")/.." && exec uv run voice up --instances 2 "$@"
