#!/usr/bin/env python3
"""Download models: the same as `voice models download`, for those who look for a script.

uv run scripts/download_models.py [ID]... [--all]
"""

import sys

from services.cli.main import app

if __name__ == "__main__":
    app(["models", "download", *sys.argv[1:]])
