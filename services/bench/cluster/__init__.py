"""`voice bench cluster`: instances behind nginx under load, under faults, and for a long time."""
