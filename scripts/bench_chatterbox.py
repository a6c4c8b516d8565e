"""How fast Chatterbox is on this machine: first audio and real-time factor by number of streams.

Random weights of the real size measure speed honestly; what they say is noise, so each text is
spoken for the time that people would take.

    uv run --group chatterbox python -m scripts.bench_chatterbox --device cuda --streams 1 2 4 8
"""

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.tts.engines.base import SynthesisRequest
from services.tts.engines.chatterbox.conditioning import SAMPLE_RATE, VoiceTensors
from services.tts.engines.chatterbox.engine import ChatterboxEngine, ChatterboxSource
from services.tts.engines.chatterbox.guard import TokenBudget
from services.tts.engines.chatterbox.models import ChatterboxModels
from services.tts.engines.chatterbox.watermark import load_watermarker

TEXT = "The train to the airport leaves in ten minutes from platform four, so please hurry up."
_NATURAL = TokenBudget(start_s=0.3, character_s=1 / 15)


@dataclass(frozen=True)
class Run:
    """One stream."""

    first_s: float
    took_s: float
    audio_s: float


class _Characters:
    """A tokenizer of as many tokens as characters; the real one has somewhat fewer."""

    def encode(self, text: str) -> list[int]:
        return [3 + ord(char) % 200 for char in text]


def random_models(device: str, precision: str) -> ChatterboxModels:
    """The real networks, freshly initialised."""
    import torch
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.inference.alignment_stream_analyzer import LLAMA_ALIGNED_HEADS
    from chatterbox.tts import punc_norm

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    voice = VoiceTensors(
        speaker=rng.standard_normal((1, 256), dtype=np.float32),
        prompt_tokens=rng.integers(0, 6561, (1, 150), dtype=np.int32),
        reference_tokens=rng.integers(0, 6561, (1, 250), dtype=np.int32),
        reference_mel=rng.standard_normal((1, 500, 80), dtype=np.float32),
        timbre=rng.standard_normal((1, 192), dtype=np.float32),
    )
    return ChatterboxModels(
        t3=T3().to(device, getattr(torch, precision)).eval(),
        s3gen=S3Gen().to(device).eval(),
        voice_encoder=None,
        tokenizer=_Characters(),
        clean=punc_norm,
        watermarker=load_watermarker(),
        builtin=voice,
        aligned_heads=tuple(LLAMA_ALIGNED_HEADS),
        multilingual=False,
        version="random",
    )


def speak(engine: ChatterboxEngine, text: str, seed: int) -> Run:
    """One stream from request to end."""
    begun = time.perf_counter()
    first, samples = 0.0, 0
    for piece in engine.synthesize(SynthesisRequest(text, "chatterbox", seed=seed)):
        first = first or time.perf_counter() - begun
        samples += len(piece.samples)
    return Run(first, time.perf_counter() - begun, samples / SAMPLE_RATE)


def measure(engine: ChatterboxEngine, text: str, streams: int, rounds: int) -> str:
    """A row of the table: all streams begin at once."""
    runs: list[Run] = []
    took = 0.0
    for number in range(rounds):
        begun = time.perf_counter()
        with ThreadPoolExecutor(streams) as callers:
            seeds = range(number * streams, (number + 1) * streams)
            runs += callers.map(lambda seed: speak(engine, text, seed), seeds)
        took += time.perf_counter() - begun
    first = [run.first_s for run in runs]
    rtf = statistics.median(run.took_s / run.audio_s for run in runs)
    total = sum(run.audio_s for run in runs) / took
    return (
        f"| {streams} | {statistics.median(first):.3f} | {max(first):.3f} | {rtf:.3f} "
        f"| {total:.2f} |"
    )


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default=None, help="of the language model")
    parser.add_argument("--streams", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads")
    parser.add_argument("--text", default=TEXT)
    return parser.parse_args()


def main() -> None:
    """Print a table."""
    asked = _arguments()
    precision = asked.precision or ("bfloat16" if asked.device.startswith("cuda") else "float32")
    models = random_models(asked.device, precision)
    engine = ChatterboxEngine(
        lambda: models,
        [ChatterboxSource("chatterbox", "Chatterbox", "en")],
        lanes=max(asked.streams),
        budget=_NATURAL,
        threads=asked.threads,
    )
    engine.load()
    speak(engine, asked.text, 0)
    say(f"{asked.device}, {precision}, {len(asked.text)} characters, {asked.rounds} rounds")
    say("| streams | first audio, median s | worst s | RTF of a stream | audio s a second |")
    say("|---|---|---|---|---|")
    for streams in asked.streams:
        say(measure(engine, asked.text, streams, asked.rounds))
    engine.close()


if __name__ == "__main__":
    main()
