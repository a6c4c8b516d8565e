"""How well a trained voice is understood, how it sounds, and a page to hear it.

python -m scripts.training.evaluate test.jsonl OUT --tts http://HOST:8002 --voice vi \
    --asr http://HOST:8001

Both services run already, anywhere. The recordings of the same sentences are judged beside the
speech, because an ASR errs on them, too.
"""

import asyncio
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from scripts.training.character_errors import CharacterErrors, CharacterScorer
from scripts.training.journal import write_text
from scripts.training.samples_page import Judged, Sample, samples_page
from services.bench.tts_quality import RATE, open_predictor, opinion
from services.client.asr import transcribe_file
from services.client.connection import ServiceError
from services.client.tts import synthesize
from services.shared.media.decode import UnreadableAudio, decode_audio

_LONGEST_S = 120.0


@dataclass(frozen=True, slots=True)
class Services:
    """Where the speech comes from, and who listens."""

    tts: str
    voice: str
    asr: str
    language: str = "vi"
    key: str | None = None


class Judge:
    """Character errors and predicted opinion of audio files; adds up."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._scorer = CharacterScorer()
        self._predictor = open_predictor()
        self.errors = CharacterErrors()
        self.opinions: list[float] = []

    async def judge(self, path: Path, text: str, folder: Path) -> Judged:
        """Raises ServiceError, UnreadableAudio."""
        asked = self._services
        found = await transcribe_file(asked.asr, path, key=asked.key, language=asked.language)
        errors = self._scorer.score(text, found.text)
        self.errors += errors
        samples = decode_audio(path, sample_rate=RATE, max_duration_s=_LONGEST_S)
        mos = opinion(self._predictor, samples)
        if mos is not None:
            self.opinions.append(mos)
        return Judged(path.relative_to(folder).as_posix(), found.text, errors.rate, mos)

    def summary(self) -> dict[str, Any]:
        return {
            "characters": self.errors.characters,
            "character_errors": self.errors.errors,
            "cer": round(self.errors.rate, 4),
            "mos_mean": round(float(np.mean(self.opinions)), 3) if self.opinions else None,
            "mos_p5": round(float(np.percentile(self.opinions, 5)), 3) if self.opinions else None,
        }


async def evaluate(
    lines: Sequence[dict[str, Any]], out: Path, services: Services, *, recordings: bool
) -> dict[str, Any]:
    """Speak and judge every line of a manifest; writes `evaluation.json` and `index.html`.

    Raises:
        ServiceError: a service is unreachable or refuses.
    """
    audio = out / "audio"
    audio.mkdir(parents=True, exist_ok=True)
    speech, recorded = Judge(services), Judge(services)
    samples = []
    for number, line in enumerate(track(lines, "speaking", transient=True)):
        path = audio / f"{number:04d}.flac"
        path.write_bytes(await _spoken(services, line["text"]))
        original = None
        if recordings:
            source = Path(line["audio_filepath"])
            copy = audio / f"{number:04d}-recording{source.suffix}"
            shutil.copyfile(source, copy)
            original = await recorded.judge(copy, line["text"], out)
        judged = await speech.judge(path, line["text"], out)
        samples.append(Sample(line["text"], judged, original))
    summary = {"sentences": len(samples), "voice": services.voice, "speech": speech.summary()}
    if recordings:
        summary["recordings"] = recorded.summary()
    _write(out, summary, samples)
    return summary


async def _spoken(services: Services, text: str) -> bytes:
    wanted = {"text": text, "voice": services.voice, "format": "flac", "cache": "bypass"}
    return b"".join([block async for block in synthesize(services.tts, wanted, key=services.key)])


def _write(out: Path, summary: dict[str, Any], samples: Sequence[Sample]) -> None:
    content = summary | {"samples": [asdict(sample) for sample in samples]}
    write_text(out / "evaluation.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    facts = [("sentences", str(len(samples)))]
    for name in ("speech", "recordings"):
        if found := summary.get(name):
            facts.append((f"{name}: character error rate", f"{found['cer']:.1%}"))
            facts.append((f"{name}: DNSMOS, mean", str(found["mos_mean"])))
    page = samples_page(f"Voice {summary['voice']}", facts, samples)
    write_text(out / "index.html", page)


def main(
    manifest: Annotated[Path, typer.Argument(exists=True, help="test.jsonl of create_manifest.")],
    out: Annotated[Path, typer.Argument(help="Folder for the page and the figures.")],
    voice: Annotated[str, typer.Option()],
    tts: Annotated[str, typer.Option()] = "http://127.0.0.1:8002",
    asr: Annotated[str, typer.Option()] = "http://127.0.0.1:8001",
    language: Annotated[str, typer.Option()] = "vi",
    key: Annotated[str | None, typer.Option(envvar="VOICE_KEY", help="Of both services.")] = None,
    sentences: Annotated[int, typer.Option(min=1, help="The first so many.")] = 100,
    recordings: Annotated[bool, typer.Option(help="Judge the recordings, too.")] = True,
) -> None:
    """Judge a voice by the sentences of a manifest."""
    console = Console(stderr=True)
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    services = Services(tts, voice, asr, language, key)
    try:
        summary = asyncio.run(evaluate(lines[:sentences], out, services, recordings=recordings))
    except (ServiceError, UnreadableAudio, OSError) as problem:
        console.print(f"[red]{problem}[/]")
        raise typer.Exit(1) from None
    console.print(summary, f"Listen: {out / 'index.html'}")


if __name__ == "__main__":
    typer.run(main)
