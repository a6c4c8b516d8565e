"""The shape of a cluster benchmark's results, as in the JSON. Durations say their unit."""

from typing import Any

from services.bench.results import Record, Spread


class Accounts(Record):
    """Every message of a group of callers, accounted for."""

    callers: int
    utterances: int
    answered: int
    """By exactly one final with `turn_end` that reaches to their end."""
    unanswered: int
    doubled: int
    """Finals over audio that another final had covered."""
    crossed: int
    """Finals or audio that are not computed from this caller's own audio or text, and messages
    for nothing that it did. With real engines: only those messages."""
    unlike: int
    """Real engines: finals with fewer than half of the words that were said."""
    partly: int
    """Utterances of which a part is missing in the finals."""
    cut: int
    """Taken for two turns; all of both was heard."""
    late: int
    """Parts of those that came when the caller had gone on."""
    said_again: int
    """Utterances that a lost session had cost the caller."""
    replies: int
    spoken: int
    """Replies whose audio came whole."""
    unspoken: int
    wrong_length: int
    """Replies with another amount of audio than was told."""
    asked_again: int
    """Replies that had to be asked for more than once."""
    broken_off: int
    """Of those, how often some of it had been heard before the session was lost."""
    underruns: int
    """Holes in the sound of callers who play from the first sample on."""
    dropped_ms: int
    """By the service's own account, at the end of each session."""
    refused: int
    """Connections and replies that were declined, and tried again."""
    errors: dict[str, int]
    checks_that_could_not_fail: int
    """Finals that would have passed for another caller's, too: the check proves nothing there."""
    flush_to_final_ms: Spread
    """The caller's `flush` sent, right behind the last audio, to the final's arrival."""
    flush_to_audio_ms: Spread
    """`flush` of a reply's beginning sent to the first audio's arrival."""
    decode_ms: float | None
    """Mean time of the recogniser in those finals, which is included."""

    @property
    def losses(self) -> list[str]:
        """What must not happen to a caller whose sessions were not lost, in words."""
        counts = {
            "utterances without a final": self.unanswered,
            "utterances heard in part": self.partly,
            "finals doubled": self.doubled,
            "messages crossed": self.crossed,
            "replies without their audio": self.unspoken,
            "replies of a wrong length": self.wrong_length,
            "ms of audio dropped": self.dropped_ms,
        }
        found = [f"{count} {what}" for what, count in counts.items() if count]
        return found + [f"{count} times {error}" for error, count in self.errors.items()]


class Pings(Record):
    """WebSocket pings on silent sessions: the way there and back, and nothing else."""

    through_nginx_ms: Spread
    direct_ms: Spread


class Load(Record):
    """The callers with nothing going wrong on purpose."""

    seconds: float
    accounts: Accounts
    outages: int
    """Sessions lost, though nobody hurt anything."""
    pings: Pings | None
    cpu_percent: dict[str, float]
    """100 is one core: `asr`, `tts`, `nginx`, `callers` (this process), `others`."""
    loop_lag_p99_ms: dict[str, float]
    lateness_ms: Spread
    """How late the callers' audio was sent: what this benchmark itself adds to latencies."""

    @property
    def losses(self) -> list[str]:
        lost = [f"{self.outages} sessions lost"] if self.outages else []
        return self.accounts.losses + lost


class Fault(Record):
    """One thing that was done to the cluster, and what its clients saw."""

    name: str
    done: str
    """In words."""
    seconds: float
    skipped: str | None = None
    """Why it could not be done here."""
    hit: int = 0
    """Sessions that the instance had when it happened."""
    seen: dict[str, int] = {}
    """What clients saw → how many, e.g. `asr closed 1006 → new`."""
    back_ms: Spread | None = None
    """From the loss (or the fault, if that is later) to going on."""
    touched: int = 0
    """Callers with a lost session or connection."""
    untouched: Accounts | None = None
    """All others: they should notice nothing."""
    accounts: Accounts | None = None
    """Of everybody."""
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """What should not have happened."""

    @property
    def losses(self) -> list[str]:
        return list(self.faults)


class Trend(Record):
    """One figure of one process over a soak."""

    process: str
    what: str
    begin: float
    """Median of the first tenth after the warm-up."""
    end: float
    """Median of the last tenth."""
    growth_percent: float
    """By the Theil-Sen slope over the whole time after the warm-up."""
    grows: bool
    """More than is permitted."""


class Soak(Record):
    """The same load for a long time."""

    minutes: float
    warm_up_minutes: float
    limit_percent: float
    accounts: Accounts
    outages: int
    lateness_ms: Spread
    cpu_percent: dict[str, float]
    trends: tuple[Trend, ...]
    series: dict[str, tuple[tuple[float, float, int, int, float], ...]]
    """Process → (seconds, MB, descriptors, threads, jobs waiting), at most 200 points."""

    @property
    def losses(self) -> list[str]:
        lost = [f"{self.outages} sessions lost"] if self.outages else []
        return [
            *self.accounts.losses,
            *lost,
            *(
                f"{trend.what} of {trend.process} grew by {trend.growth_percent:.1f} %"
                for trend in self.trends
                if trend.grows
            ),
        ]


class ClusterBench(Record):
    """A whole run."""

    date: str
    machine: dict[str, Any]
    setup: dict[str, Any]
    load: Load | None
    faults: tuple[Fault, ...]
    soak: Soak | None

    @property
    def levels(self) -> tuple[Load | Fault | Soak, ...]:
        """Everything that may have lost something."""
        found = (self.load, *self.faults, self.soak)
        return tuple(each for each in found if each is not None)
