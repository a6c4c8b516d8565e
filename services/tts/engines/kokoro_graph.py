"""Cuts the exported Kokoro graph (as kokoro-onnx publishes it) in two, in memory.

The published graph goes from tokens to audio in one run and keeps the durations to itself. Cut in
two the same weights tell how long each token is heard, and give audio part by part:

    text   tokens, style, speed       ->  features, pitch, energy, frames per token
    sound  features, pitch, energy,
           style                      ->  audio

The cuts are found by the module names that PyTorch's exporter gave the nodes: what leads from the
encoder into the decoder. The only `Round` rounds the durations.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.tts.engines.base import EngineUnavailable


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
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailable(
            "the kokoro engine needs onnx; install it with: uv sync --group kokoro"
        ) from error
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise EngineUnavailable(f"model {path.name} cannot be read: {error}") from error
    try:
        return _Cutter(onnx, model).cut()
    except LookupError as error:
        raise EngineUnavailable(f"{path.name} is no Kokoro model: {error}") from error


class _Cutter:
    def __init__(self, onnx: Any, model: Any) -> None:
        self._onnx = onnx
        self._model = model
        self._producer = {name: node for node in model.graph.node for name in node.output}
        self._constants = {item.name: item for item in model.graph.initializer}

    def cut(self) -> KokoroStages:
        types = self._onnx.TensorProto
        inputs = [item.name for item in self._model.graph.input]
        if set(inputs) != {"tokens", "style", "speed"}:
            raise LookupError(f"its inputs are {', '.join(inputs)}")
        features = self._after("/encoder/MatMul_1")
        pitch, energy = self._after("/encoder/Reshape"), self._after("/encoder/Reshape_1")
        durations = self._durations()
        audio = self._model.graph.output[0].name
        floats = {features: types.FLOAT, pitch: types.FLOAT, energy: types.FLOAT}
        return KokoroStages(
            text=self._stage(
                {"tokens": types.INT64, "style": types.FLOAT, "speed": types.FLOAT},
                {**floats, durations: types.FLOAT},
            ),
            sound=self._stage({**floats, "style": types.FLOAT}, {audio: types.FLOAT}),
            features=features,
            pitch=pitch,
            energy=energy,
            durations=durations,
            audio=audio,
        )

    def _after(self, name: str) -> str:
        for node in self._model.graph.node:
            if node.name == name:
                return str(node.output[0])
        raise LookupError(f"no node is named {name}")

    def _durations(self) -> str:
        rounds = [node for node in self._model.graph.node if node.op_type == "Round"]
        if len(rounds) != 1:
            raise LookupError(f"expected one Round node, found {len(rounds)}")
        for node in self._model.graph.node:
            if node.op_type == "Clip" and rounds[0].output[0] in node.input:
                return str(node.output[0])
        raise LookupError("the durations have no least value")

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

    def _stage(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> bytes:
        helper = self._onnx.helper
        seen, roots = self._ancestors(outputs, frozenset(inputs))
        if foreign := roots - set(self._constants):
            raise LookupError(f"a part also needs {', '.join(sorted(foreign))}")
        graph = helper.make_graph(
            [node for node in self._model.graph.node if seen.intersection(node.output)],
            "stage",
            [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs.items()],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
            [item for name, item in self._constants.items() if name in roots],
        )
        model = helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version
        )
        return bytes(model.SerializeToString())
