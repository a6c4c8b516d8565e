"""What a caller's ear tells of a call: when sound begins and ends. Pure; times in seconds."""

import numpy as np

from services.shared.audio.pcm import Floats

_WINDOW_S = 0.01
_SILENCE_DBFS = -45.0
"""Below: a quiet line. Synthetic speech has its pauses well below, its sounds well above."""
_FULL_SCALE_FLOOR = 1e-7
_RECENTLY_S = 0.3
_ZERO = 1e-6
_EDGE_S = 0.01
_SPEECH_DBFS = -35.0


def loudness(samples: Floats, rate: int) -> Floats:
    """Level in dBFS of each 10 ms [m]."""
    size = round(_WINDOW_S * rate)
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.mean(np.square(whole, dtype=np.float32), axis=1)
    return np.asarray(10 * np.log10(np.maximum(power, _FULL_SCALE_FLOOR)), dtype=np.float32)


def sound_spans(
    samples: Floats,
    rate: int,
    *,
    threshold_dbfs: float = _SILENCE_DBFS,
    join_s: float = 0.3,
    shortest_s: float = 0.03,
) -> list[tuple[float, float]]:
    """Beginnings and ends of sound; pauses shorter than `join_s` belong to it."""
    loud = np.concatenate([[False], loudness(samples, rate) > threshold_dbfs, [False]])
    edges = np.flatnonzero(loud[1:] != loud[:-1]) * _WINDOW_S
    spans: list[tuple[float, float]] = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if spans and begin - spans[-1][1] < join_s:
            spans[-1] = (spans[-1][0], float(end))
        else:
            spans.append((float(begin), float(end)))
    return [(begin, end) for begin, end in spans if end - begin >= shortest_s]


def first_sound(samples: Floats, rate: int, *, after_s: float = 0.0) -> float | None:
    """When sound is heard first at or after a time that is silent; None: never.

    A sound that began before and still goes on at `after_s` is not the answer that is looked for.
    """
    for begin, _ in sound_spans(samples, rate):
        if begin >= after_s:
            return begin
    return None


def greeting_s(agent: Floats, rate: int, answered_s: float) -> float | None:
    """From the answered call to the first sound."""
    begin = first_sound(agent, rate, after_s=max(0.0, answered_s - _WINDOW_S))
    return None if begin is None else begin - answered_s


def answer_s(agent: Floats, rate: int, speech_end_s: float) -> float | None:
    """From the end of the caller's speech to the first sound of the answer."""
    begin = first_sound(agent, rate, after_s=speech_end_s)
    return None if begin is None else begin - speech_end_s


def silence_after_s(
    agent: Floats, rate: int, onset_s: float, *, quiet_s: float = 0.2
) -> float | None:
    """From the caller's onset (barge-in) to the agent's silence of at least `quiet_s`.

    None: it did not speak at the onset, or never fell silent.
    """
    levels = loudness(agent, rate) > _SILENCE_DBFS
    start = round(onset_s / _WINDOW_S)
    needed = round(quiet_s / _WINDOW_S)
    if not levels[max(0, start - needed) : start + 1].any():
        return None
    quiet = 0
    for index in range(start, len(levels)):
        quiet = 0 if levels[index] else quiet + 1
        if quiet == needed:
            return max(0.0, (index + 1 - needed) * _WINDOW_S - onset_s)
    return None


def last_sound_s(agent: Floats, rate: int, onset_s: float, until_s: float) -> float | None:
    """From the caller's onset (barge-in) to the end of the agent's last sound before `until_s`.

    Unlike :func:`silence_after_s` it takes no pause between two words for silence, and an agent
    that goes on after a while is late.

    None: it did not speak at the onset, or still does at the end.
    """
    loud = loudness(agent, rate) > _SILENCE_DBFS
    start, end = round(onset_s / _WINDOW_S), round(until_s / _WINDOW_S)
    recently = round(_RECENTLY_S / _WINDOW_S)
    if not loud[max(0, start - recently) : start + 1].any() or loud[end - 5 : end].any():
        return None
    sounds = np.flatnonzero(loud[start:end])
    return (int(sounds[-1]) + 1) * _WINDOW_S if len(sounds) else 0.0


def holes(samples: Floats, rate: int, *, shortest_s: float = 0.015) -> list[tuple[float, float]]:
    """Digital silence in the midst of sound: begin and length of each.

    Speech grows quiet before its pauses, and even these have noise; audio that did not come in
    time breaks off while it is loud.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.abs(samples) < _ZERO, [False]])))
    edge = round(_EDGE_S * rate)
    found = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < shortest_s * rate:
            continue
        if _is_loud(samples[max(0, begin - edge) : begin]) and _is_loud(samples[end : end + edge]):
            found.append((float(begin / rate), float((end - begin) / rate)))
    return found


def _is_loud(samples: Floats) -> bool:
    power = float(np.mean(np.square(samples))) if len(samples) else 0.0
    return bool(10 * np.log10(max(power, _FULL_SCALE_FLOOR)) > _SPEECH_DBFS)


def tone_level(samples: Floats, rate: int, hertz: float) -> float:
    """How much of the sound is this tone: 0 to 1 of its energy (Goertzel's sum, as one product)."""
    energy = float(np.sum(np.square(samples, dtype=np.float64)))
    if energy <= 0:
        return 0.0
    turns = np.exp(-2j * np.pi * hertz / rate * np.arange(len(samples)))
    return float(2 * abs(np.dot(samples, turns)) ** 2 / len(samples) / energy)
