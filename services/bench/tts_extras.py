"""What needs no crowd: file formats' lengths, cache hits, and speech to be judged."""

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from services.bench.results import Spread
from services.bench.tts_listener import Answer, Manner, listen
from services.bench.tts_quality import RATE, Speech
from services.bench.tts_results import CacheResult, FormatResult
from services.client.connection import ServiceError
from services.client.tts import synthesize
from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.audio.resample import StreamResampler
from services.shared.media.decode import decode_audio
from services.shared.media.encode import FileFormat
from services.tts.messages import CacheUse

PHRASE = "One moment, please, I am looking that up for you."
_HITS = 50
_RAW = {
    FileFormat.PCM: Encoding.PCM_S16LE,
    FileFormat.MULAW: Encoding.MULAW,
    FileFormat.ALAW: Encoding.ALAW,
}
_RATES = (8000, 24_000, 48_000)
_LONGEST_S = 60.0


async def measure_cache(manner: Manner) -> CacheResult | None:
    """Ask for one phrase anew, then again and again; None when the service keeps no phrases."""
    asked = [PHRASE, *[PHRASE] * _HITS]
    first = replace(manner, start=manner.start | {"cache": CacheUse.REFRESH})
    again = replace(manner, start=manner.start | {"cache": CacheUse.DEFAULT})
    answers = await _heard(replace(first, keep_audio=True), asked[:1])
    answers += await _heard(replace(again, keep_audio=True), asked[1:])
    if len({bytes(answer.audio) for answer in answers}) > 1:
        return None  # Renditions differ, so they were made anew.
    miss, *hits = [_first_s(answer) for answer in answers]
    return CacheResult(phrase=PHRASE, miss_ms=round(miss * 1000, 1), hit_ms=Spread.of_seconds(hits))


async def measure_formats(
    http_url: str, voice: str | None, key: str | None
) -> tuple[FormatResult, ...]:
    """The decoded length of every format at several rates.

    All of them must hold one rendition, which the service's phrase cache keeps; without a cache
    there is nothing to compare, and the result is empty.
    """
    wanted: dict[str, object] = {"text": PHRASE, "voice": voice}
    exact = [await _fetch(http_url, wanted | {"format": "pcm"}, key) for _ in range(2)]
    if exact[0] != exact[1]:
        return ()
    wav = await _fetch(http_url, wanted | {"format": "wav"}, key)
    true_s = len(await _decoded(wav)) / RATE
    results = []
    for file_format in FileFormat:
        for rate in _RATES:
            asked: dict[str, object] = {"format": file_format.value, "sample_rate": rate}
            data = await _fetch(http_url, wanted | asked, key)
            seconds = await _seconds(data, file_format, rate)
            results.append(
                FormatResult(
                    format=file_format.value,
                    sample_rate=rate,
                    audio_ms=round(seconds * 1000, 1),
                    error_ms=round((seconds - true_s) * 1000, 1),
                )
            )
    return tuple(results)


async def hear_sentences(manner: Manner, sentences: Iterable[str]) -> list[Speech]:
    """Every sentence once, as a stream, at 16 kHz.

    Raises:
        ServiceError: one of them was not spoken.
    """
    patient = replace(manner, keep_audio=True)
    answers = await _heard(patient, list(sentences))
    return [Speech(answer.text, _samples(answer)) for answer in answers]


async def _heard(manner: Manner, texts: Sequence[str]) -> list[Answer]:
    quick = replace(manner, tokens_per_s=None, play=False, cancel_share=0.0)
    answers = await listen(quick, iter(texts), random.Random(0))
    for answer in answers:
        if answer.error is not None:
            raise ServiceError(f"{answer.text!r} was not spoken: {answer.error}")
    return answers


def _first_s(answer: Answer) -> float:
    assert answer.first_s is not None
    return answer.first_s - answer.began_s


def _samples(answer: Answer) -> Floats:
    if answer.sound is None:
        return np.zeros(0, dtype=np.float32)
    resampler = StreamResampler(answer.sound.sample_rate, RATE, low_latency=False)
    samples = answer.sound.decode(bytes(answer.audio))
    return np.concatenate([resampler.push(samples), resampler.flush()])


async def _fetch(http_url: str, wanted: dict[str, object], key: str | None) -> bytes:
    asked = {name: value for name, value in wanted.items() if value is not None}
    began = time.monotonic()
    data = b"".join([block async for block in synthesize(http_url, asked, key=key)])
    if not data:
        raise ServiceError(f"no audio within {time.monotonic() - began:.1f} s for {asked}")
    return data


async def _seconds(data: bytes, file_format: FileFormat, rate: int) -> float:
    if encoding := _RAW.get(file_format):
        return len(data) / AudioFormat(encoding, rate).bytes_per_s
    return len(await _decoded(data)) / RATE


async def _decoded(data: bytes) -> Floats:
    return await asyncio.to_thread(decode_audio, data, sample_rate=RATE, max_duration_s=_LONGEST_S)
