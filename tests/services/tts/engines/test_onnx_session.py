"""Models on onnxruntime: what cannot be opened, and runs that fail or are ended."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.interrupt import Interrupt, interrupted_by
from services.tts.engines.onnx_session import open_session, run_session


@pytest.fixture
def model() -> bytes:
    """Adds one to three numbers."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy"]
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])], "g", value[:1], value[1:], [one]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def test_bytes_and_files_are_opened_alike(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    x = np.arange(3, dtype=np.float32)
    for source in (model, path):
        [y] = run_session(open_session(source, 1, engine="test"), ["y"], {"x": x})
        np.testing.assert_array_equal(y, x + 1)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model at all")
    for source, name in ((tmp_path / "bad.onnx", r"bad\.onnx"), (b"not a model", "the model")):
        with pytest.raises(EngineUnavailable, match=f"{name} cannot be opened"):
            open_session(source, 1, engine="test")


def test_a_provider_that_is_not_there_is_named(model: bytes) -> None:
    with pytest.raises(EngineUnavailable, match="no NowhereExecutionProvider here"):
        open_session(model, 1, engine="test", providers=("NowhereExecutionProvider",))


def test_a_run_that_fails_raises_a_runtime_error(model: bytes) -> None:
    session = open_session(model, 1, engine="test")
    with pytest.raises(RuntimeError, match="x"):
        run_session(session, ["y"], {"x": np.zeros(4, dtype=np.float32)})


def test_work_of_an_ended_stream_is_not_run(model: bytes) -> None:
    session, interrupt = open_session(model, 1, engine="test"), Interrupt()
    interrupt.raise_()
    with interrupted_by(interrupt), pytest.raises(RuntimeError, match="terminate"):
        run_session(session, ["y"], {"x": np.zeros(3, dtype=np.float32)})
