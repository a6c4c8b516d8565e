"""An exported voice built by hand: the same files and interfaces, networks of a few nodes."""

import string
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.tts.engines.fastpitch.exported import (
    DECODER,
    ENCODER,
    VOCODER,
    Manifest,
    phonemes_of,
    write_voice,
)
from services.tts.engines.fastpitch.mel import MelSettings
from services.tts.engines.fastpitch.pronunciation import Pronouncer
from services.tts.engines.fastpitch.tokens import TokenTable

HOP, BANDS, CHANNELS, RATE = 256, 80, 4, 22_050
FRAMES, MARK_FRAMES = 6, 3
"""Of a letter; of a space or a mark."""
MARKS = (",", ".", "!", "?", "-", ":", ";", '"', "(", ")")
MEL = MelSettings(
    sample_rate=RATE, n_fft=1024, hop=HOP, window=1024, bands=BANDS, fmin=0, fmax=RATE / 2
)
LETTERS = TokenTable(
    ids={
        symbol: 1 + number for number, symbol in enumerate((*string.ascii_lowercase, "'", *MARKS))
    },
    marks=MARKS,
    space=0,
    pad_with_space=True,
    lowercase=True,
    accents="strip",
    apostrophes=True,
)


def write_small_voice(
    folder: Path,
    *,
    table: TokenTable = LETTERS,
    pronouncer: Pronouncer | None = None,
    language: str = "en-US",
    speakers: int = 0,
) -> Path:
    """A folder that `fastpitch_onnx` speaks with: each token is a sound of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        language=language,
        speakers=speakers,
        mel=MEL,
        reach=2,
        tokens=table,
        phonemes=phonemes_of(pronouncer),
    )
    write_voice(folder, manifest, pronouncer)
    _write_encoder(folder / ENCODER, table, speakers)
    _write_decoder(folder / DECODER)
    _write_vocoder(folder / VOCODER)
    return folder


def _write_encoder(path: Path, table: TokenTable, speakers: int) -> None:
    rng = np.random.default_rng(1)
    size = 1 + max(table.ids.values())
    durations = np.full(size, FRAMES, dtype=np.float64)
    durations[[table.space, *(table.ids[mark] for mark in table.marks)]] = MARK_FRAMES
    nodes = [
        helper.make_node("Gather", ["sounds", "ids"], ["plain" if speakers else "features"]),
        helper.make_node("Gather", ["lengths", "ids"], ["durations"]),
    ]
    weights = {"sounds": rng.standard_normal((size, CHANNELS)), "lengths": durations}
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])]
    if speakers:
        weights["voices"] = rng.standard_normal((speakers, CHANNELS))
        inputs.append(helper.make_tensor_value_info("speaker", TensorProto.INT64, [1]))
        nodes.append(helper.make_node("Gather", ["voices", "speaker"], ["voice"]))
        nodes.append(helper.make_node("Add", ["plain", "voice"], ["features"]))
    outputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, "tokens", CHANNELS]),
        helper.make_tensor_value_info("durations", TensorProto.FLOAT, [1, "tokens"]),
    ]
    _write(path, nodes, inputs, outputs, weights)


def _write_decoder(path: Path) -> None:
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("MatMul", ["features", "bands"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["mel"], perm=[0, 2, 1]),
    ]
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, "frames", CHANNELS])]
    outputs = [helper.make_tensor_value_info("mel", TensorProto.FLOAT, [1, BANDS, "frames"])]
    _write(path, nodes, inputs, outputs, {"bands": rng.standard_normal((CHANNELS, BANDS))})


def _write_vocoder(path: Path) -> None:
    """Each frame is heard in three: a kernel of three hops."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node(
            "ConvTranspose", ["mel", "waves"], ["sum"], strides=[HOP], pads=[HOP, HOP]
        ),
        helper.make_node("Tanh", ["sum"], ["audio"]),
    ]
    inputs = [helper.make_tensor_value_info("mel", TensorProto.FLOAT, [1, BANDS, "frames"])]
    outputs = [helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, 1, "samples"])]
    waves = 0.005 * rng.standard_normal((BANDS, 1, 3 * HOP))
    _write(path, nodes, inputs, outputs, {"waves": waves})


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, npt.NDArray[np.float64]],
) -> None:
    tensors = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    ]
    graph = helper.make_graph(nodes, "small", inputs, outputs, tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        str(path),
    )
