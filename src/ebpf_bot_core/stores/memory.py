"""memory: keeps everything until the process ends, for embedding systems and experiments."""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_bot_core.errors import StoreError
from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.run import Run
from ebpf_bot_core.signal import SignalBatch

__all__ = ["MemoryStore"]


class MemoryStore:
    """A store without a file. Nothing survives the process: choose `file` or `sqlite` where it should."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._evidence: dict[str, Evidence] = {}
        self._signals: dict[str, list[SignalBatch]] = {}

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        """Keep a record; it cannot fail."""
        self._runs[run.id] = run
        known = self._evidence.get(run.id)
        if known is None:
            self._evidence[run.id] = evidence.copy()
        elif len(evidence) or evidence.signals_lost > known.signals_lost:
            known.grow(evidence)
        if len(signals):
            self._signals.setdefault(run.id, []).append(signals)

    def runs(self) -> list[Run]:
        """Return the runs, oldest first."""
        return list(self._runs.values())

    def evidence(self, run_id: str) -> Evidence:
        """Return what is known in one run."""
        if run_id not in self._evidence:
            raise StoreError(f"no run {run_id!r} in memory")
        return self._evidence[run_id].copy()

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        """Yield the batches as they were saved."""
        yield from self._signals.get(run_id, [])

    def close(self) -> None:
        """Keep everything: only the end of the process forgets."""
