"""ONNX graphs, searched and cut into parts that run on their own, in memory.

A published graph often goes from text to audio in one run. Cut at the tensors that matter, the same
weights give audio piece by piece and tell what they keep to themselves, such as durations. An
engine's own module finds the tensors; here is what the search and the cut need.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.tts.engines.base import EngineUnavailable


class OnnxGraph:
    """A graph with what leads to what. What is searched for and not there is a LookupError.

    Args:
        onnx: the library, loaded.
        model: its `ModelProto`.
    """

    def __init__(self, onnx: Any, model: Any) -> None:
        self._helper = onnx.helper
        self._model = model
        self.nodes: Sequence[Any] = model.graph.node
        self._producers = {name: node for node in self.nodes for name in node.output}
        self._constants = {item.name: item for item in model.graph.initializer}
        self.types = onnx.TensorProto
        """Types of elements: `types.FLOAT`, `types.INT64`, …"""
        # Exports may carry an initializer of an input's name; such an input needs no feeding.
        self.inputs = tuple(
            str(item.name) for item in model.graph.input if item.name not in self._constants
        )
        self.outputs = tuple(str(item.name) for item in model.graph.output)

    def of_type(self, kind: str) -> list[Any]:
        """All nodes of an operator, in the graph's order."""
        return [node for node in self.nodes if node.op_type == kind]

    def only(self, kind: str) -> Any:
        """The one node of an operator."""
        nodes = self.of_type(kind)
        if len(nodes) != 1:
            raise LookupError(f"expected one {kind} node, found {len(nodes)}")
        return nodes[0]

    def named(self, name: str) -> Any:
        """The node of this name; PyTorch's exporter names nodes after their modules."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise LookupError(f"no node is named {name}")

    def producer(self, tensor: str) -> Any | None:
        """The node that makes a tensor; None for inputs and constants."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> list[Any]:
        """The nodes that a tensor goes into."""
        return [node for node in self.nodes if tensor in node.input]

    def ancestors(
        self, tensors: Iterable[str], stops: Iterable[str] = ()
    ) -> tuple[set[str], set[str]]:
        """Tensors that `tensors` are made from, and those among them that no node makes.

        Args:
            stops: tensors that are taken as given: neither they nor what makes them is told.
        """
        seen: set[str] = set()
        roots: set[str] = set()
        given = frozenset(stops)
        waiting = list(tensors)
        while waiting:
            name = waiting.pop()
            if not name or name in seen or name in given:  # an input left out has no name
                continue
            seen.add(name)
            node = self.producer(name)
            if node is None:
                roots.add(name)
            else:
                waiting += node.input
        return seen, roots

    def missing(self, inputs: Iterable[str], outputs: Iterable[str]) -> set[str]:
        """What must be fed besides `inputs` to get `outputs`."""
        _, roots = self.ancestors(outputs, inputs)
        return roots - set(self._constants)

    def part(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> bytes:
        """The part of the graph that makes `outputs` of `inputs`, as an ONNX model of its own.

        Args:
            inputs: tensors to feed and their types of elements.
            outputs: tensors to fetch, likewise.

        Raises:
            LookupError: it needs more than `inputs`.
        """
        if foreign := self.missing(inputs, outputs):
            raise LookupError(f"a part also needs {', '.join(sorted(foreign))}")
        seen, roots = self.ancestors(outputs, inputs)
        graph = self._helper.make_graph(
            [node for node in self.nodes if seen.intersection(node.output)],
            "part",
            self._infos(inputs),
            self._infos(outputs),
            [item for name, item in self._constants.items() if name in roots],
        )
        model = self._helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version
        )
        return bytes(model.SerializeToString())

    def _infos(self, tensors: Mapping[str, int]) -> list[Any]:
        return [
            self._helper.make_tensor_value_info(name, kind, None) for name, kind in tensors.items()
        ]


def read_graph(path: Path, *, engine: str) -> OnnxGraph:
    """Read an ONNX file.

    Args:
        engine: who needs it, also the dependency group that brings `onnx`.

    Raises:
        EngineUnavailable: no `onnx`, no such file, or no ONNX.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailable(
            f"the {engine} engine needs onnx; install it with: uv sync --group {engine}"
        ) from error
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise EngineUnavailable(f"model {path.name} cannot be read: {error}") from error
    return OnnxGraph(onnx, model)
