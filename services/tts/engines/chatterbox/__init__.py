"""Chatterbox (Resemble AI): cloned voices in English or 23 languages, streamed from within.

The library gives whole utterances to one caller at a time. Here its networks are driven piece by
piece: `tokens.py` runs the language model for all callers at once, `speech.py` makes the audio of
each while the tokens are still coming. The weights are MIT-licensed; every second of audio carries
Resemble's watermark (`watermark.py`), which cannot be switched off.

torch and the library are imported when an engine loads, by the group `chatterbox` only.
"""
