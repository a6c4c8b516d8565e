"""Cutting a whole recording into pieces that a recogniser takes, at its pauses. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.asr.vad.base import FRAME_MS, FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class CuttingOptions:
    """Times in milliseconds."""

    start_threshold: float = 0.5
    stop_threshold: float = 0.35
    bridge_ms: int = 200
    """A shorter silence belongs to the speech around it."""
    padding_ms: int = 200
    """Kept around speech, so that soft beginnings and endings survive."""
    gap_ms: int = 1500
    """A longer silence is never inside a piece."""
    piece_ms: int = 28_000
    search_ms: int = 6_000
    """Speech without a pause is cut at the quietest frame of a piece's last part."""


Span = tuple[int, int]
"""First and one-past-last, in frames or samples."""


def pieces(probabilities: Sequence[float], options: CuttingOptions) -> list[Span]:
    """Spans of samples that hold all speech, each at most `piece_ms` long, in order, disjoint.

    Args:
        probabilities: voice probability of every frame of the recording.
    """
    limit = options.piece_ms // FRAME_MS
    spans = _padded(_voiced(probabilities, options), len(probabilities), options)
    short = [part for span in spans for part in _split(span, probabilities, limit, options)]
    merged: list[Span] = []
    for start, end in short:
        near = merged and start - merged[-1][1] <= options.gap_ms // FRAME_MS
        if near and end - merged[-1][0] <= limit:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return [(start * FRAME_SAMPLES, end * FRAME_SAMPLES) for start, end in merged]


def _voiced(probabilities: Sequence[float], options: CuttingOptions) -> list[Span]:
    """Runs of speech with hysteresis; silences up to `bridge_ms` are bridged."""
    spans: list[Span] = []
    speaking = False
    for index, probability in enumerate(probabilities):
        speaking = probability >= (options.stop_threshold if speaking else options.start_threshold)
        if not speaking:
            continue
        if spans and index - spans[-1][1] <= options.bridge_ms // FRAME_MS:
            spans[-1] = (spans[-1][0], index + 1)
        else:
            spans.append((index, index + 1))
    return spans


def _padded(spans: Sequence[Span], frames: int, options: CuttingOptions) -> list[Span]:
    padding = -(-options.padding_ms // FRAME_MS)
    padded: list[Span] = []
    for start, end in spans:
        first, last = max(0, start - padding), min(frames, end + padding)
        if padded and first < padded[-1][1]:  # neighbours share the silence between them
            middle = max(padded[-1][0] + 1, (first + padded[-1][1]) // 2)
            padded[-1] = (padded[-1][0], middle)
            first = middle
        padded.append((first, last))
    return padded


def _split(
    span: Span, probabilities: Sequence[float], limit: int, options: CuttingOptions
) -> list[Span]:
    start, end = span
    parts: list[Span] = []
    while end - start > limit:
        search = range(start + limit - options.search_ms // FRAME_MS, start + limit)
        cut = min(search, key=lambda index: probabilities[index]) + 1
        parts.append((start, cut))
        start = cut
    return [*parts, (start, end)]
