"""Brings the voice agent to telephone calls through Asterisk."""
