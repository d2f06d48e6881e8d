"""The injection: which probes are attached on the simulated host, and what becomes of their hits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import BackendError, Evidence, Mode, ProbeTable, Reason, Scope, SignalBatch, Verdict
from ebpf_bot_simulated.faults import BLIND, FAULTS, Fault, Shown
from ebpf_bot_simulated.mishaps import Mishaps
from ebpf_bot_simulated.options import SimulatedOptions
from ebpf_bot_simulated.records import Clock, Streamer, count
from ebpf_bot_simulated.rules import Rules
from ebpf_bot_simulated.world import World

__all__ = ["SimulatedInjection"]


class SimulatedInjection:
    """An `Injection` whose world moves one tick with each call of `collect`, and stands still between.

    Without `keep` a probe disarms itself with its first hit, reported as a count of 1, until it is detached and
    attached again. In scope `COMMAND` nothing fires before a command was followed. What a caller may not do (use
    after `close`, `follow` inside `follow`) is a `BackendError`.

    Attributes:
        probes: the table that all row numbers refer to.
        wait: whether a receiver should take the time it is given.
    """

    def __init__(
        self,
        probes: ProbeTable,
        options: SimulatedOptions,
        faults: Rules[Fault],
        mishaps: Mishaps,
        *,
        scope: Scope,
        mode: Mode,
        keep: bool,
    ) -> None:
        self.probes = probes
        self.wait = options.wait
        self._options = options
        self._mishaps = mishaps
        self._keep = keep
        self._covered = scope is Scope.HOST
        self._following = False
        self._closed = False
        self._tick = 0
        self._clock = Clock(options.start_time)
        wrong = faults.rows(probes)
        self._world = World(probes, options, wrong)
        self._streamer = Streamer(probes, options.seed) if mode is Mode.STREAM else None
        self._refusals = {row: fault for row, fault in wrong.items() if fault.shown is not Shown.RUNNING}
        self._blind = Rules({probe: BLIND[code] for probe, code in options.blind.items()}).rows(probes)
        size = len(probes)
        self._can_blind = np.zeros(size, np.bool_)
        self._can_blind[list(self._blind)] = True
        self._attached = np.zeros(size, np.bool_)
        self._armed = np.zeros(size, np.bool_)
        self._scripted = np.zeros(size, np.uint64)
        self._opportunities = np.zeros(size, np.uint64)
        self._spent = np.full(size, np.nan if options.hit_cost is None else 0.0)

    def attach(self, rows: NDArray[np.intp]) -> Evidence:
        """Attach probes; those with a fault, and those beyond the limit, are refused."""
        self._begin("attach")
        outcome = Evidence.pending(self.probes)
        outcome.columns["verdict"][rows] = Verdict.SILENT
        outcome.columns["reason"][rows] = Reason.NONE
        wanted = np.zeros(len(self.probes), np.bool_)
        wanted[rows] = True
        for row, fault in self._refusals.items():
            if wanted[row]:
                wanted[row] = False
                _refuse(outcome, row, fault)
        fresh = rows[wanted[rows] & ~self._attached[rows]]
        if self._options.attach_limit is not None:
            free = max(0, self._options.attach_limit - int(np.count_nonzero(self._attached)))
            for row in fresh[free:].tolist():
                _refuse(outcome, row, FAULTS[Reason.ATTACH_LIMIT.code])
            fresh = fresh[:free]
        self._attached[fresh] = True
        self._armed[fresh] = True
        return outcome.take(rows)

    def detach(self, rows: NDArray[np.intp]) -> None:
        """Detach probes; what they have seen so far is still collected."""
        self._begin("detach")
        self._attached[rows] = False
        self._armed[rows] = False

    def inspect(self) -> Evidence:
        """Return the opportunities of every probe, and `blind` where a probe was shown to be so."""
        self._begin("inspect")
        known = Evidence.pending(self.probes)
        known.columns["opportunities"] = self._opportunities
        if self._tick > self._options.blind_after:
            for row in np.flatnonzero(self._can_blind & (self._opportunities > 0)).tolist():
                fault = self._blind[row]
                known.columns["verdict"][row] = fault.verdict
                known.columns["reason"][row] = fault.reason
                known.details[row] = fault.detail
        return known

    def cost(self) -> NDArray[np.float64]:
        """Return what the hits have cost by the option `hit_cost`; NaN without it."""
        self._check_open()
        return self._spent.copy()

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Take note that a command is covered; what is simulated has nothing to do with what it does."""
        self._check_open()
        if self._following:
            raise BackendError("simulated: another command is being followed already")
        self._following = self._covered = True
        try:
            yield
        finally:
            self._following = False

    def close(self) -> None:
        """Detach everything."""
        self._closed = True
        self._attached[:] = False
        self._armed[:] = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fire(self, rows: NDArray[np.intp], times: int = 1) -> None:
        """Hit probes now, beside what the seed gives: for tests that say what happens.

        As on a real host, only attached probes see it. With the option `rates = { "*" = 0 }` nothing else fires.
        """
        self._check_open()
        seen = rows[self._sees()[rows]]
        np.add.at(self._scripted, seen, np.uint64(times))

    def collect(self) -> SignalBatch:
        """Let one tick pass and return what was hit: what a receiver calls."""
        self._begin("receive")
        armed = np.flatnonzero(self._sees())
        self._tick += 1
        hits, self._scripted = self._scripted, np.zeros_like(self._scripted)
        hits[armed] += self._world.hits(armed, self._tick)
        self._opportunities += self._attached & self._world.runs & self._covered
        self._spent += hits * (self._options.hit_cost or 0.0)
        rows = np.flatnonzero(hits)
        hits = hits[rows]
        lost = self._world.lost(rows, hits, self._tick)
        hits -= lost
        rows, hits = rows[hits > 0], hits[hits > 0]
        if not self._keep:
            hits = np.minimum(hits, np.uint64(1))
            self._armed[rows] = False
        span = self._clock.tick()
        if self._streamer is None:
            return count(self.probes, rows, hits, int(lost.sum()), span[1])
        return self._streamer.stream(rows, hits, int(lost.sum()), self._tick, span)

    def _sees(self) -> NDArray[np.bool_]:
        """Return where a hit would be seen, shape (n,)."""
        if not self._covered:
            return np.zeros_like(self._armed)
        under_way = self._tick + 1
        return self._armed & ~self._can_blind if under_way > self._options.blind_after else self._armed

    def _begin(self, call: str) -> None:
        self._check_open()
        self._mishaps.befall(call)

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("simulated: the injection is closed", hint="open another")


def _refuse(outcome: Evidence, row: int, fault: Fault) -> None:
    outcome.columns["verdict"][row] = Verdict.REFUSED
    outcome.columns["reason"][row] = fault.reason
    outcome.details[row] = fault.detail
