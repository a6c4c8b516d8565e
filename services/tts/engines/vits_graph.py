"""Cuts an exported VITS graph (as Piper ships them) into stages that can be run on their own.

The published graph goes from phoneme ids to audio in one run and draws its noise inside. Cut into
three stages with the noise as an input, the same weights give audio before the sentence is done
(flow and decoder look only a few frames around), the durations of the phonemes, and equal audio for
equal noise.

    text     ids, duration noise  ->  prior mean and deviation per frame, frames per id
    flow     prior sample         ->  latents          (frame by frame, small context)
    decoder  latents              ->  audio            (frame by frame, small context)

The cuts are found by structure: the only `Ceil` rounds the durations; of the two `RandomNormalLike`
the one that leads to it is the durations' noise, the other one draws the prior sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.onnx_graph import OnnxGraph, read_graph

DECODER_PREFIX = "/dec/"
"""PyTorch's exporter names nodes after the module that they come from."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the graph as ONNX bytes, with the names to feed and to fetch."""

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    speaker: bool
    """Takes `sid`, the speaker's number, too."""


@dataclass(frozen=True, slots=True)
class VitsStages:
    """The three stages; inputs and outputs in the order of the module's description."""

    text: Stage
    """inputs: ids, id count, scales, duration noise [1, 2, ids];
    outputs: mean [1, c, frames], deviation [1, c, frames], frames per id [1, 1, ids]"""
    flow: Stage
    """inputs: prior sample [1, c, frames], mask [1, 1, frames]; output: latents [1, c, frames]"""
    decoder: Stage
    """input: latents [1, c, frames]; output: audio [1, …, frames * hop]"""


def split_vits(path: Path) -> VitsStages:
    """Read a Piper voice and cut it.

    Raises:
        EngineUnavailable: no such file, no `onnx`, or not a graph of this kind.
    """
    graph = read_graph(path, engine="piper")
    try:
        return _cut(graph)
    except LookupError as error:
        raise EngineUnavailable(f"{path.name} is no Piper (VITS) voice: {error}") from error


def _cut(graph: OnnxGraph) -> VitsStages:
    durations = graph.only("Ceil").output[0]
    noise, prior_noise = _noises(graph, durations)
    deviation = _other_factor(graph, prior_noise)
    mean = prior_noise.input[0]
    sample = _sum_with(graph, mean)
    latents = _decoder_input(graph)
    mask = _mask(graph, latents)
    floats, ints = graph.types.FLOAT, graph.types.INT64
    text = {"input": ints, "input_lengths": ints, "scales": floats, noise.output[0]: floats}
    return VitsStages(
        text=_stage(graph, text, (mean, deviation, durations)),
        flow=_stage(graph, {sample: floats, mask: floats}, (latents,)),
        decoder=_stage(graph, {latents: floats}, (graph.outputs[0],)),
    )


def _noises(graph: OnnxGraph, durations: str) -> tuple[Any, Any]:
    """The duration noise's node and the prior noise's."""
    before, _ = graph.ancestors([durations])
    nodes = graph.of_type("RandomNormalLike")
    duration = [node for node in nodes if node.output[0] in before]
    prior = [node for node in nodes if node.output[0] not in before]
    if len(duration) != 1 or len(prior) != 1:
        raise LookupError(f"expected two RandomNormalLike nodes, found {len(nodes)}")
    return duration[0], prior[0]


def _other_factor(graph: OnnxGraph, noise: Any) -> str:
    for node in graph.consumers(noise.output[0]):
        if node.op_type == "Mul":
            return next(str(name) for name in node.input if name != noise.output[0])
    raise LookupError("the prior noise is not scaled")


def _sum_with(graph: OnnxGraph, mean: str) -> str:
    for node in graph.consumers(mean):
        if node.op_type == "Add":
            return str(node.output[0])
    raise LookupError("nothing is added to the prior mean")


def _decoder_input(graph: OnnxGraph) -> str:
    for node in graph.of_type("Conv"):
        if node.name.startswith(DECODER_PREFIX):
            return str(node.input[0])
    raise LookupError(f"no convolution is named {DECODER_PREFIX}…")


def _mask(graph: OnnxGraph, latents: str) -> str:
    """The decoder is fed the flow's output times the mask, which only the frame count made."""
    node = graph.producer(latents)
    if node is None or node.op_type != "Mul":
        raise LookupError("the decoder's input is not masked")
    return str(node.input[1])


def _stage(graph: OnnxGraph, inputs: Mapping[str, int], outputs: tuple[str, ...]) -> Stage:
    speaker = "sid" in graph.missing(inputs, outputs)
    feeds = {**inputs, "sid": graph.types.INT64} if speaker else inputs
    model = graph.part(feeds, dict.fromkeys(outputs, graph.types.FLOAT))
    return Stage(model, tuple(inputs), outputs, speaker)
