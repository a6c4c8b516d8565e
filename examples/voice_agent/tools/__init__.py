"""What an agent can do besides talking; :mod:`.base` says how a tool is made."""
