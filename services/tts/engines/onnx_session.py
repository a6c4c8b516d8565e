"""Opens and runs models on onnxruntime, for all engines alike."""

from pathlib import Path
from typing import Any

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.interrupt import interruptible

CPU = ("CPUExecutionProvider",)


def open_session(
    model: bytes | Path, threads: int, *, engine: str, providers: tuple[str, ...] = CPU
) -> Any:
    """An `onnxruntime.InferenceSession`.

    Args:
        model: ONNX bytes or a file, whose weights may lie in other files beside it.
        threads: CPU threads of one run.
        engine: who needs it, for the sentence when onnxruntime is missing.
        providers: onnxruntime's execution providers, the most wanted first.

    Raises:
        EngineUnavailable: onnxruntime is missing, lacks a provider, or cannot read the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailable(
            f"the {engine} engine needs onnxruntime; install it with: uv sync --group tts"
        ) from error
    missing = set(providers) - set(onnxruntime.get_available_providers())
    if missing:
        raise EngineUnavailable(f"onnxruntime has no {', '.join(sorted(missing))} here")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads that spin steal the cores from the other stages and services.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(source, options, providers=list(providers))
    except Exception as error:
        name = model.name if isinstance(model, Path) else "the model"
        raise EngineUnavailable(f"{name} cannot be opened: {error}") from error


def run_session(session: Any, outputs: list[str], feeds: dict[str, Any]) -> list[Any]:
    """`session.run`, which an interrupt ends between two nodes of the graph.

    Raises:
        RuntimeError: interrupted, or any failure of the run.
    """
    from onnxruntime import RunOptions

    options = RunOptions()

    def end() -> None:
        options.terminate = True

    try:
        with interruptible(end):
            return list(session.run(outputs, feeds, options))
    except Exception as error:  # onnxruntime's have no base class but this one
        raise RuntimeError(str(error)) from error
