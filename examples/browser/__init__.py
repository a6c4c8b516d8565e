"""A voice chat in the browser, with the conversation of `voice_agent`."""
