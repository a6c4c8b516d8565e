"""A disk that is full: what writes is refused in words, and everything else goes on."""

import asyncio
import io
import wave
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

from services.bench.cluster.fingerprints import SOUND
from services.bench.cluster.instances import Cluster
from services.bench.cluster.speech import Utterance

_SIZE = "4m"
_TIMEOUT_S = 30.0
_PIECE = bytes(1 << 16)
_REFUSED = {500, 502, 503, 507}
_CONSENT = "made for this test"


class TinyDisk:
    """A tmpfs of 4 MB at a folder, for the length of a block. Needs root.

    Raises:
        OSError: it cannot be mounted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __aenter__(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        options = ("-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(self._folder))
        if (code := await _run("mount", *options)) != 0:
            raise OSError(f"mount of a tmpfs at {self._folder} ended with exit code {code}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _run("umount", "-l", str(self._folder))


async def _run(*words: str) -> int:
    process = await asyncio.create_subprocess_exec(*words)
    return await process.wait()


@dataclass(slots=True)
class Tried:
    """What was answered."""

    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


async def try_a_full_disk(folder: Path, cluster: Cluster, speech: Utterance) -> Tried:
    """Fill it, ask for all that writes, make room, ask again."""
    tried = Tried()
    recording = _wav(speech, seconds=5)
    timeout = httpx.Timeout(_TIMEOUT_S)
    async with httpx.AsyncClient(
        base_url=cluster.tts_url, timeout=timeout, trust_env=False
    ) as http:
        await asyncio.to_thread(_fill, folder)
        for what, status, expected in (
            ("a phrase spoken three times", await _phrase(http), {200}),
            ("a voice", await _voice(http, recording), _REFUSED),
            ("a word of the lexicon", await _word(http), _REFUSED),
            ("a recording to transcribe", await _transcript(http, recording), {200} | _REFUSED),
        ):
            _note(tried, "full", what, status, expected)
        (folder / "ballast").unlink()
        _note(tried, "free again", "a voice", await _voice(http, recording), {200, 201})
        _note(tried, "free again", "a word of the lexicon", await _word(http), {200, 204})
    return tried


def _note(tried: Tried, disk: str, what: str, status: int, expected: set[int]) -> None:
    sentence = f"disk {disk}, {what}: HTTP {status}"
    tried.notes.append(sentence)
    if status not in expected:
        tried.faults.append(sentence)


def _fill(folder: Path) -> None:
    with suppress(OSError), (folder / "ballast").open("wb", buffering=0) as file:
        while file.write(_PIECE):
            pass


async def _phrase(http: httpx.AsyncClient) -> int:
    """The service puts what is asked for twice on the disk."""
    status = 0
    for _ in range(3):
        answer = await http.post("/v1/synthesize", json={"text": "Please hold the line."})
        status = max(status, answer.status_code)
    return status


async def _voice(http: httpx.AsyncClient, recording: bytes) -> int:
    answer = await http.post(
        "/v1/voices",
        files={"file": ("voice.wav", recording)},
        data={"name": "Test", "language": "en-US", "consent": _CONSENT},
    )
    return answer.status_code


async def _word(http: httpx.AsyncClient) -> int:
    answer = await http.put("/v1/lexicon/en-US/nginx", json={"say": "engine x"})
    return answer.status_code


async def _transcript(http: httpx.AsyncClient, recording: bytes) -> int:
    """Larger than what is kept in memory while it comes."""
    answer = await http.post("/v1/transcribe", files={"file": ("long.wav", recording)})
    return answer.status_code


def _wav(speech: Utterance, seconds: float) -> bytes:
    """The utterance again and again."""
    size = round(seconds * SOUND.bytes_per_s) // SOUND.frame_bytes * SOUND.frame_bytes
    data = (speech.data * (1 + size // len(speech.data)))[:size]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SOUND.sample_rate)
        out.writeframes(data)
    return file.getvalue()
