"""What the store raises. Imports nothing, for commands that must start quickly."""


class StoreError(Exception):
    """The store cannot do it; the sentence says why."""
