"""A page to listen to: what was to be said, the speech, what an ASR heard. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "article{border-top:1px solid #ccc;padding:1rem 0}audio{width:100%}"
    "dt{font-weight:600}dd{margin:0 0 .5rem}"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One recording or one synthesis of a sentence."""

    audio: str
    """Relative to the page."""
    heard: str
    cer: float
    mos: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    text: str
    speech: Judged
    recording: Judged | None


def samples_page(title: str, facts: Sequence[tuple[str, str]], samples: Sequence[Sample]) -> str:
    """HTML without scripts; the players need the audio files beside it."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    articles = "\n".join(map(_article, samples))
    return (
        '<!doctype html>\n<html lang="vi"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>\n"
        f"<h1>{escape(title)}</h1>\n<dl>{rows}</dl>\n{articles}\n</html>\n"
    )


def _article(sample: Sample) -> str:
    parts = [_player("Speech", sample.speech)]
    if sample.recording is not None:
        parts.append(_player("Recording", sample.recording))
    return f"<article><p>{escape(sample.text)}</p>{''.join(parts)}</article>"


def _player(name: str, judged: Judged) -> str:
    mos = "" if judged.mos is None else f", MOS {judged.mos:.2f}"
    return (
        f'<h4>{name}</h4><audio controls preload="none" src="{escape(judged.audio)}"></audio>'
        f"<p>heard: {escape(judged.heard) or '—'} (CER {judged.cer:.1%}{mos})</p>"
    )
