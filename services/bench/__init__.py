"""Benchmarks of the services over the wire. Nothing here is imported by the services."""
