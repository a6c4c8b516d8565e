"""Cuts the exported Kokoro graph (as kokoro-onnx publishes it) in two, in memory.

The published graph goes from tokens to audio in one run and keeps the durations to itself. Cut in
two the same weights tell how long each token is heard, and give audio part by part:

    text   tokens, style, speed       ->  features, pitch, energy, frames per token
    sound  features, pitch, energy,
           style                      ->  audio

The cuts are found by the module names that PyTorch's exporter gave the nodes: what leads from the
encoder into the decoder. The only `Round` rounds the durations.
"""

from dataclasses import dataclass
from pathlib import Path

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.onnx_graph import OnnxGraph, read_graph


@dataclass(frozen=True, slots=True)
class KokoroStages:
    """Both parts as ONNX bytes, and the names of what goes between them."""

    text: bytes
    """inputs: tokens [1, n] int64, style [1, 256], speed [1]"""
    sound: bytes
    """inputs: features, pitch, energy, style; output: audio [samples]"""
    features: str
    """[1, c, frames]"""
    pitch: str
    """[1, 2 * frames], like energy"""
    energy: str
    durations: str
    """[1, n] frames of each token"""
    audio: str


def split_kokoro(path: Path) -> KokoroStages:
    """Read a Kokoro model and cut it.

    Raises:
        EngineUnavailable: no such file, no `onnx`, or not a graph of this kind.
    """
    graph = read_graph(path, engine="kokoro")
    try:
        return _cut(graph)
    except LookupError as error:
        raise EngineUnavailable(f"{path.name} is no Kokoro model: {error}") from error


def _cut(graph: OnnxGraph) -> KokoroStages:
    if set(graph.inputs) != {"tokens", "style", "speed"}:
        raise LookupError(f"its inputs are {', '.join(graph.inputs)}")
    features, pitch, energy = (
        str(graph.named(f"/encoder/{name}").output[0])
        for name in ("MatMul_1", "Reshape", "Reshape_1")
    )
    durations = _durations(graph)
    audio = graph.outputs[0]
    number, index = graph.types.FLOAT, graph.types.INT64
    between = {features: number, pitch: number, energy: number}
    return KokoroStages(
        text=graph.part(
            {"tokens": index, "style": number, "speed": number}, {**between, durations: number}
        ),
        sound=graph.part({**between, "style": number}, {audio: number}),
        features=features,
        pitch=pitch,
        energy=energy,
        durations=durations,
        audio=audio,
    )


def _durations(graph: OnnxGraph) -> str:
    for node in graph.consumers(graph.only("Round").output[0]):
        if node.op_type == "Clip":
            return str(node.output[0])
    raise LookupError("the durations have no least value")
