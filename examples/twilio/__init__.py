"""Calls from Twilio's telephone network, with the conversation of `voice_agent`."""
