"""The benchmark's scripted language model, under the name that tests know it by."""

from examples.asterisk_bridge.bench.scripted_llm import Line, Script, create_app, llm_server

__all__ = ["Line", "Script", "create_app", "llm_server"]
