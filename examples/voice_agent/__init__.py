"""A conversation with a caller: hears with the ASR service, thinks with an LLM, speaks with TTS."""
