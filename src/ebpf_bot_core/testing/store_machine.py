"""A Hypothesis machine that uses a store in any order and compares it with a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.run import Run
from ebpf_bot_core.signal import SignalBatch
from ebpf_bot_core.stages import SignalStore
from ebpf_bot_core.testing.same import PlainSignal, plain_signals
from ebpf_bot_core.testing.samples import batches, evidence, sample_run

__all__ = ["run_store_machine"]

_settings = settings(
    max_examples=15,
    stateful_step_count=15,
    deadline=None,  # stores touch disks, and disks stall
    suppress_health_check=[HealthCheck.too_slow],
)


def run_store_machine(open_store: Callable[[Path], SignalStore], directories: pytest.TempPathFactory) -> None:
    """Search for a sequence of calls after which the store shows something else than the model.

    Args:
        open_store: opens the store at a path, again and again.
        directories: gives each attempt a directory of its own.
    """

    class Machine(_StoreMachine):
        def open(self) -> SignalStore:
            return open_store(self.path)

        def new_path(self) -> Path:
            return directories.mktemp("machine") / "store"

    run_state_machine_as_test(Machine, settings=_settings)


class _StoreMachine(RuleBasedStateMachine):
    """The model: runs, joined evidence and signals by the id of the run."""

    def __init__(self) -> None:
        super().__init__()
        self.path = self.new_path()
        self.store = self.open()
        self.runs: dict[str, Run] = {}
        self.evidence: dict[str, Evidence] = {}
        self.signals: dict[str, list[PlainSignal]] = {}

    def open(self) -> SignalStore:
        raise NotImplementedError

    def new_path(self) -> Path:
        raise NotImplementedError

    @rule(number=st.integers(0, 2), steps=st.integers(0, 9), batch=batches(), known=evidence())
    def save(self, number: int, steps: int, batch: SignalBatch, known: Evidence) -> None:
        run = sample_run(number, steps=steps, finished=steps == 0)
        self.store.save(run, batch, known)
        self.runs[run.id] = run
        joined = self.evidence.get(run.id)
        self.evidence[run.id] = known.copy() if joined is None else joined.join(known)
        self.signals.setdefault(run.id, []).extend(plain_signals([batch]))

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = self.open()

    @invariant()
    def shows_what_was_saved(self) -> None:
        if not self.runs:
            return
        listed = {run.id: run for run in self.store.runs()}
        assert listed == self.runs
        for run_id, known in self.evidence.items():
            assert self.store.evidence(run_id) == known
            assert plain_signals(self.store.signals(run_id)) == self.signals[run_id]

    def teardown(self) -> None:
        self.store.close()
