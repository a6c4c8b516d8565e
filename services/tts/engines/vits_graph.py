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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.tts.engines.base import EngineUnavailable

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
        EngineUnavailable: no such file, or not a graph of this kind.
    """
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise EngineUnavailable(f"voice model {path.name} cannot be read: {error}") from error
    try:
        return _Cutter(onnx, model).cut()
    except LookupError as error:
        raise EngineUnavailable(f"{path.name} is no Piper (VITS) voice: {error}") from error


class _Cutter:
    def __init__(self, onnx: Any, model: Any) -> None:
        self._onnx = onnx
        self._model = model
        self._producer = {name: node for node in model.graph.node for name in node.output}
        self._constants = {item.name: item for item in model.graph.initializer}
        # Single-speaker exports may carry an initializer of an input's name; it needs no feeding.
        self._graph_inputs = {item.name for item in model.graph.input} - set(self._constants)

    def cut(self) -> VitsStages:
        durations = self._only("Ceil").output[0]
        noise, prior_noise = self._noises(durations)
        deviation = self._other_factor(prior_noise)
        mean = prior_noise.input[0]
        sample = self._sum_with(mean)
        latents = self._decoder_input()
        mask = self._mask(latents)
        floats, ints = self._onnx.TensorProto.FLOAT, self._onnx.TensorProto.INT64
        return VitsStages(
            text=self._stage(
                {"input": ints, "input_lengths": ints, "scales": floats, noise.output[0]: floats},
                (mean, deviation, durations),
            ),
            flow=self._stage({sample: floats, mask: floats}, (latents,)),
            decoder=self._stage({latents: floats}, (self._model.graph.output[0].name,)),
        )

    def _nodes(self, kind: str) -> list[Any]:
        return [node for node in self._model.graph.node if node.op_type == kind]

    def _only(self, kind: str) -> Any:
        nodes = self._nodes(kind)
        if len(nodes) != 1:
            raise LookupError(f"expected one {kind} node, found {len(nodes)}")
        return nodes[0]

    def _noises(self, durations: str) -> tuple[Any, Any]:
        """The duration noise's node and the prior noise's."""
        before, _ = self._ancestors([durations], frozenset())
        nodes = self._nodes("RandomNormalLike")
        duration = [node for node in nodes if node.output[0] in before]
        prior = [node for node in nodes if node.output[0] not in before]
        if len(duration) != 1 or len(prior) != 1:
            raise LookupError(f"expected two RandomNormalLike nodes, found {len(nodes)}")
        return duration[0], prior[0]

    def _consumers(self, name: str) -> list[Any]:
        return [node for node in self._model.graph.node if name in node.input]

    def _other_factor(self, noise: Any) -> str:
        for node in self._consumers(noise.output[0]):
            if node.op_type == "Mul":
                return next(str(name) for name in node.input if name != noise.output[0])
        raise LookupError("the prior noise is not scaled")

    def _sum_with(self, mean: str) -> str:
        for node in self._consumers(mean):
            if node.op_type == "Add":
                return str(node.output[0])
        raise LookupError("nothing is added to the prior mean")

    def _decoder_input(self) -> str:
        for node in self._model.graph.node:
            if node.op_type == "Conv" and node.name.startswith(DECODER_PREFIX):
                return str(node.input[0])
        raise LookupError(f"no convolution is named {DECODER_PREFIX}…")

    def _mask(self, latents: str) -> str:
        """The decoder is fed the flow's output times the mask, which only the frame count made."""
        node = self._producer.get(latents)
        if node is None or node.op_type != "Mul":
            raise LookupError("the decoder's input is not masked")
        return str(node.input[1])

    def _ancestors(
        self, outputs: Iterable[str], stops: frozenset[str]
    ) -> tuple[set[str], set[str]]:
        """Tensors that `outputs` are made from, and those among them that no node makes."""
        seen: set[str] = set()
        roots: set[str] = set()
        waiting = list(outputs)
        while waiting:
            name = waiting.pop()
            if not name or name in seen or name in stops:
                continue
            seen.add(name)
            node = self._producer.get(name)
            if node is None:
                roots.add(name)
            else:
                waiting += node.input
        return seen, roots

    def _stage(self, inputs: Mapping[str, int], outputs: tuple[str, ...]) -> Stage:
        helper = self._onnx.helper
        seen, roots = self._ancestors(outputs, frozenset(inputs))
        free = roots & self._graph_inputs
        foreign = free - {"sid"}
        if foreign:
            raise LookupError(f"a stage also needs {', '.join(sorted(foreign))}")
        speaker = "sid" in free
        feeds = dict(inputs) | ({"sid": self._onnx.TensorProto.INT64} if speaker else {})
        graph = helper.make_graph(
            [node for node in self._model.graph.node if seen.intersection(node.output)],
            "stage",
            [helper.make_tensor_value_info(name, kind, None) for name, kind in feeds.items()],
            [
                helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, None)
                for name in outputs
            ],
            [item for name, item in self._constants.items() if name in roots],
        )
        model = helper.make_model(
            graph,
            opset_imports=self._model.opset_import,
            ir_version=self._model.ir_version,
        )
        return Stage(model.SerializeToString(), tuple(inputs), outputs, speaker)
