"""What the journal tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class JournalMetrics:
    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.registry = registry
        self.waiting = Gauge("voice_journal_waiting", "Entries in memory", registry=registry)
        self.written = Counter("voice_journal_written", "Rows in the database", registry=registry)
        self.spooled = Counter("voice_journal_spooled", "Rows put by in files", registry=registry)
        self.spool_bytes = Gauge("voice_journal_spool_bytes", "Size of those", registry=registry)
        self.lost = Counter("voice_journal_lost", "Rows and entries lost", registry=registry)
