"""What Google's streams may tell, joined: the settled text only grows, and begins every guess."""

from services.asr.engines.base import HypothesisWord
from services.asr.engines.google_results import Result, Transcript
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.values import text


def attempt(source: Source) -> None:
    told = Transcript()
    for _ in range(source.below(12)):
        stable, covered_ms = told.stable, told.covered_ms
        results = [_result(source) for _ in range(source.below(4))]
        if source.one_in(4):
            told.take_last(results, source.below(20_000))
        else:
            told.take(results)
        check(told.stable.startswith(stable), "a settled text changed")
        check(told.text.startswith(told.stable), "a guess without what is settled")
        check(told.covered_ms >= covered_ms, "time goes back")
        told.hypothesis()


def _result(source: Source) -> Result:
    words = []
    for _ in range(source.below(5)):
        start_ms = source.below(20_000)
        words.append(HypothesisWord(text(source, 1), start_ms, start_ms + source.below(900), 0.5))
    said = " ".join(word.word for word in words) if source.one_in(2) else text(source, 4)
    confidence = source.choice((None, 0.0, 0.7))
    return Result(said, source.one_in(2), source.below(20_000), "en", confidence, tuple(words))
