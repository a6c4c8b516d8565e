"""Runs a VITS voice in stages on onnxruntime: phoneme ids in, audio in windows out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.tts.engines.base import Floats
from services.tts.engines.onnx_session import run_session
from services.tts.engines.vits_graph import Stage, VitsStages

_PROBE_FRAMES = 161
_UNCHANGED = 1e-6
FLOW_FRAMES = 192
"""Latents made at a time after the first window: few enough to leave the model to others soon."""


@dataclass(frozen=True, slots=True)
class VitsScales:
    """The model's three knobs."""

    noise: float
    length: float
    duration_noise: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the text stage made of one sentence."""

    prior: Floats
    """[1, channels, frames] sample of the prior, the flow's input."""
    samples_per_id: npt.NDArray[np.int64]
    """[ids] how long each id is heard."""

    @property
    def frames(self) -> int:
        return int(self.prior.shape[2])


class VitsModel:
    """Three onnxruntime sessions with the little that must be known of them.

    Args:
        stages: the cut graph.
        open_session: makes a session of ONNX bytes.
        speaker: number of the speaker in a voice of several.
    """

    def __init__(
        self, stages: VitsStages, open_session: Callable[[bytes], Any], speaker: int = 0
    ) -> None:
        self._text = _Runner(stages.text, open_session, speaker)
        self._flow = _Runner(stages.flow, open_session, speaker)
        self._decoder = _Runner(stages.decoder, open_session, speaker)
        channels = self._channels()
        rng = np.random.default_rng(0)
        probe = rng.standard_normal((1, channels, _PROBE_FRAMES), dtype=np.float32)
        self.hop = self._decode(probe).shape[2] // _PROBE_FRAMES
        self._flow_reach = _reach(self._to_latents, probe, 1)
        self._decoder_reach = _reach(self._decode, probe, self.hop)

    def encode(self, ids: list[int], scales: VitsScales, rng: np.random.Generator) -> Utterance:
        """Run the text stage and draw the prior sample.

        Args:
            ids: phoneme ids with their pads.
        """
        noise = rng.standard_normal((1, 2, len(ids)), dtype=np.float32)
        mean, deviation, frames = self._text(
            np.array([ids], dtype=np.int64),
            np.array([len(ids)], dtype=np.int64),
            np.array([scales.noise, scales.length, scales.duration_noise], dtype=np.float32),
            noise,
        )
        drawn = rng.standard_normal(mean.shape, dtype=np.float32)
        prior = mean + drawn * deviation * np.float32(scales.noise)
        return Utterance(prior, frames.reshape(-1).astype(np.int64) * self.hop)

    def decode(self, utterance: Utterance, windows: Iterator[int]) -> Iterator[Floats]:
        """Audio of `utterance`, in pieces of as many frames as `windows` says.

        Each window is run with as many frames around it as can reach into it, so the pieces joined
        are what one run over all frames gives.
        """
        latents = np.empty_like(utterance.prior)
        done = at = 0
        while at < utterance.frames:
            end = min(utterance.frames, at + next(windows))
            needed = min(utterance.frames, end + self._decoder_reach)
            while done < needed:
                step = max(needed - done, FLOW_FRAMES if done else 0)
                until = min(utterance.frames, done + step)
                latents[:, :, done:until] = _windowed(
                    self._to_latents, utterance.prior, done, until, self._flow_reach, 1
                )
                done = until
            audio = _windowed(
                self._decode, latents[:, :, :done], at, end, self._decoder_reach, self.hop
            )
            yield audio.reshape(-1)
            at = end

    def _to_latents(self, prior: Floats) -> Floats:
        return self._flow(prior, np.ones((1, 1, prior.shape[2]), dtype=np.float32))[0]

    def _decode(self, latents: Floats) -> Floats:
        return self._decoder(latents)[0].reshape(1, 1, -1)  # exports differ in leading axes

    def _channels(self) -> int:
        mean, *_ = self._text(
            np.zeros((1, 3), dtype=np.int64),
            np.array([3], dtype=np.int64),
            np.ones(3, dtype=np.float32),
            np.zeros((1, 2, 3), dtype=np.float32),
        )
        return int(mean.shape[1])


class _Runner:
    """One stage with its inputs by position."""

    def __init__(self, stage: Stage, open_session: Callable[[bytes], Any], speaker: int) -> None:
        self._session = open_session(stage.model)
        self._stage = stage
        self._extra: dict[str, npt.NDArray[Any]] = (
            {"sid": np.array([speaker], dtype=np.int64)} if stage.speaker else {}
        )

    def __call__(self, *inputs: npt.NDArray[Any]) -> list[Floats]:
        feeds = dict(zip(self._stage.inputs, inputs, strict=True))
        return run_session(self._session, list(self._stage.outputs), feeds | self._extra)


def _windowed(
    run: Callable[[Floats], Floats], data: Floats, start: int, end: int, reach: int, hop: int
) -> Floats:
    """`run(data)[start * hop : end * hop]`, computed from the frames that reach into it."""
    first, last = max(0, start - reach), min(data.shape[2], end + reach)
    out = run(np.ascontiguousarray(data[:, :, first:last]))
    return out[:, :, (start - first) * hop : (end - first) * hop]


def _reach(run: Callable[[Floats], Floats], probe: Floats, hop: int) -> int:
    """How many frames away one changed frame is still noticed in the output."""
    middle = probe.shape[2] // 2
    changed = probe.copy()
    changed[:, :, middle] += 1.0
    difference = np.abs(run(probe) - run(changed)).max(axis=(0, 1))
    touched = np.flatnonzero(difference > _UNCHANGED) // hop
    return int(np.abs(touched - middle).max()) + 1
