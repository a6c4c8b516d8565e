"""Results of call benchmarks for people."""

from rich.console import Console, Group
from rich.text import Text

from examples.asterisk_bridge.bench.results import CallBench, CallLevel
from services.bench.figures import level_table, machine_line, number, spread

_STAGES = {
    "pending_ms": "end of speech → text, if it is the end",
    "final_ms": "end of speech → end of turn",
    "decode_ms": "  of that, decoding",
    "llm_ms": "model: request → first word",
    "speech_ms": "first word → first audio (clause, TTS)",
    "ready_ms": "end of speech → audio is there",
    "held_ms": "  audio waited for the end of turn",
    "release_ms": "audio and end of turn → line",
    "transport_ms": "line → caller's ear",
}


def show_calls(result: CallBench, console: Console) -> None:
    """Print the whole result."""
    setup = result.setup
    heading = Text(
        f"{machine_line(result.machine)} Language model: {setup.get('llm', 'unknown')}; "
        f"{setup['turns']} questions a call; ms, p50 / p95 / p99."
    )
    heads = [str(level.concurrency) for level in result.levels]
    table = level_table("calls at once", heads, [_rows(level) for level in result.levels])
    console.print(Group(heading, table, *_losses(result)))


def _rows(level: CallLevel) -> dict[str, str]:
    stages = {told: spread(getattr(level.stages, name), 0) for name, told in _STAGES.items()}
    hits, all_answers = level.speculation.get("hit", 0), sum(level.speculation.values())
    return {
        "calls": str(len(level.calls)),
        "end of speech → answer (recording)": spread(level.answer_ms, 0),
        "  the same by the journal": spread(level.log_answer_ms, 0),
        "interruption → silence (recording)": spread(level.silence_ms, 0),
        "  → pause, by the journal": spread(level.log_pause_ms, 0),
        "answered → greeting (recording)": spread(level.greeting_ms, 0),
        **stages,
        "begun early, and right": f"{hits} of {all_answers}",
        "holes in speech / late packets": f"{level.holes} / {level.slips}",
        "phones late, at worst": number(level.phone_late_ms),
        "ran dry, by the journal": number(level.ran_dry),
        "no answer / after a filler": f"{level.unanswered} / {level.bridged}",
        "interruptions without silence": str(level.unheard),
        **{f"CPU %, {name}": number(round(part)) for name, part in level.cpu_percent.items()},
    }


def _losses(result: CallBench) -> list[Text]:
    lines = []
    for level in result.levels:
        if level.losses:
            reasons = sorted({call.failure for call in level.calls if call.failure})
            told = "; ".join([*level.losses, *reasons[:3]])
            lines.append(Text(f"{level.concurrency} at once: {told}", style="bold red"))
    return lines
