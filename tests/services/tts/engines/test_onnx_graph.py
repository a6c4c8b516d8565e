"""Graphs cut into parts."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.onnx_graph import OnnxGraph, read_graph
from services.tts.engines.onnx_session import open_session, run_session


@pytest.fixture
def graph(tmp_path: Path) -> OnnxGraph:
    """audio = (x + one) * gain - spare, of which `spare` has a value of its own."""
    names = ("x", "gain", "spare")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in names]
    audio = helper.make_tensor_value_info("audio", TensorProto.FLOAT, [2])
    nodes = [
        helper.make_node("Add", ["x", "one"], ["sum"], "/text/Add"),
        helper.make_node("Mul", ["sum", "gain"], ["product"], "/sound/Mul"),
        helper.make_node("Sub", ["product", "spare"], ["audio"], "/sound/Sub"),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0]) for name in ("one", "spare")
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "g", infos, [audio], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(made, str(tmp_path / "model.onnx"))
    return read_graph(tmp_path / "model.onnx", engine="test")


def test_parts_one_after_the_other_are_the_whole(graph: OnnxGraph) -> None:
    number = graph.types.FLOAT
    first = open_session(graph.part({"x": number}, {"sum": number}), 1, engine="test")
    feeds = {"sum": number, "gain": number}
    second = open_session(graph.part(feeds, {"audio": number}), 1, engine="test")
    x, gain = np.array([1, 2], dtype=np.float32), np.array([3, 5], dtype=np.float32)
    [middle] = run_session(first, ["sum"], {"x": x})
    [audio] = run_session(second, ["audio"], {"sum": middle, "gain": gain})
    np.testing.assert_array_equal(audio, (x + 1) * gain - 1)


def test_what_a_part_lacks_is_named(graph: OnnxGraph) -> None:
    assert graph.missing(["sum"], ["audio"]) == {"gain"}
    assert graph.missing(["x", "gain"], ["audio"]) == set()
    number = graph.types.FLOAT
    with pytest.raises(LookupError, match="also needs gain"):
        graph.part({"sum": number}, {"audio": number})


def test_inputs_with_a_value_need_no_feeding(graph: OnnxGraph) -> None:
    assert graph.inputs == ("x", "gain")
    assert graph.outputs == ("audio",)


def test_nodes_are_found_by_operator_by_name_and_by_what_they_are_joined_to(
    graph: OnnxGraph,
) -> None:
    assert graph.only("Mul") == graph.named("/sound/Mul") == graph.producer("product")
    assert graph.consumers("sum") == graph.of_type("Mul")
    assert graph.producer("x") is graph.producer("one") is None
    assert graph.ancestors(["product"], ["gain"]) == ({"product", "sum", "x", "one"}, {"x", "one"})
    with pytest.raises(LookupError, match="expected one Conv node, found 0"):
        graph.only("Conv")
    with pytest.raises(LookupError, match="no node is named /nowhere"):
        graph.named("/nowhere")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"gone\.onnx cannot be read"):
        read_graph(tmp_path / "gone.onnx", engine="test")
