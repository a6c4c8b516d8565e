"""Graphs that are no VITS voice are refused with a reason."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.vits_graph import split_vits


def write(path: Path, *kinds: str) -> Path:
    nodes = [helper.make_node(kind, ["x"], [f"y{i}"]) for i, kind in enumerate(kinds)]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y0", TensorProto.FLOAT, [1])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [value], [out])), str(path))
    return path


def test_a_file_that_is_no_onnx(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a model at all")
    with pytest.raises(EngineUnavailable, match=r"bad\.onnx"):
        split_vits(path)


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        (("Abs",), "expected one Ceil node, found 0"),
        (("Ceil", "Ceil"), "expected one Ceil node, found 2"),
        (("Ceil", "RandomNormalLike"), "expected two RandomNormalLike nodes, found 1"),
    ],
)
def test_another_kind_of_model(tmp_path: Path, kinds: tuple[str, ...], told: str) -> None:
    with pytest.raises(EngineUnavailable, match=f"no Piper .* voice: {told}"):
        split_vits(write(tmp_path / "other.onnx", *kinds))
