"""The stages that plugins supply: what each must do, who owns and closes what, and what is not promised.

Data flows one way: an injector finds probes and opens an injection, a receiver turns the injection into batches,
processors change batches, a store keeps them. No stage calls the pipeline.

Every method may raise `ebpf_bot_core.errors.EbpfBotError`; anything else is a defect of the stage, which the pipeline
reports under the stage's name. Methods are called from one thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.probe import ProbePattern, ProbeTable
from ebpf_bot_core.run import Mode, Run, Scope
from ebpf_bot_core.signal import SignalBatch

__all__ = [
    "Injection",
    "ProbeInjector",
    "SignalProcessor",
    "SignalReceiver",
    "SignalStore",
]


@runtime_checkable
class ProbeInjector(Protocol):
    """Finds probes on this host and attaches them.

    Attributes:
        modes: the modes that `open` can serve.
    """

    modes: frozenset[Mode]

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        """Say which probes the patterns name on this host, without attaching any.

        A row is `pending` where the probe is there and can be tried; `missing`, `refused`, `excluded` or `blind`,
        with a reason and a detail, where it is already known that it cannot fire. A pending row may have a detail
        that stays with it, and as its reason the one that its silence would have, where that is not `not-called`.
        A pattern that matches nothing is one row under its own text. Hostile or broken files are rows, never exceptions.
        """
        ...

    def open(self, probes: ProbeTable, *, scope: Scope, mode: Mode, keep: bool) -> Injection:
        """Open an injection on the table of a run; none of its probes is attached yet.

        The caller owns the injection and closes it.

        Args:
            probes: the run's table. Only rows that `find` called pending are ever attached; the others are there
                so that row numbers mean the same everywhere.
            scope: whose hits count.
            mode: how they are reported.
            keep: every hit counts, exactly. Else a probe is detached once it has fired, so that only its first hit
                need be reported, as a count of at least 1.

        Raises:
            BackendError: the backend cannot work here; the message names the cause, the hint the cure.
        """
        ...

    def close(self) -> None:
        """Give back what the injector holds; injections are closed before. May be called twice."""
        ...


@runtime_checkable
class Injection(Protocol):
    """Probes that are, or can be, attached; a context manager that detaches all at its end.

    No probe outlives the process that holds the injection, however that process ends.

    Attributes:
        probes: the table that all row numbers refer to.
    """

    probes: ProbeTable

    def attach(self, rows: NDArray[np.intp]) -> Evidence:
        """Attach many probes at once and say of each how it went, in the order of `rows`.

        An outcome is `silent` (attached) or `refused` with its reason; one bad probe never fails the others.
        Attaching what is attached changes nothing.
        """
        ...

    def detach(self, rows: NDArray[np.intp]) -> None:
        """Detach many probes at once. Those that stay miss no first hit; hits so far are still received.

        Where the injection keeps (see `ProbeInjector.open`) those that stay miss no hit, and none is counted twice.
        """
        ...

    def inspect(self) -> Evidence:
        """Say what is now known of the probes beside their hits, for the whole table.

        That is `opportunities`, and `blind` for those shown unable to fire. Cheap enough to be called each step.
        """
        ...

    def cost(self) -> NDArray[np.float64]:
        """Return the CPU seconds that each probe has cost its targets so far, shape (len(probes),).

        That is an estimate of what the threads that hit the probe spent on it, counted or not; it never falls. NaN where
        the backend cannot tell. Cheap enough to be called each step.
        """
        ...

    def follow(self) -> AbstractContextManager[None]:
        """Say which command scope `COMMAND` covers.

        Within the context the calling thread starts one child. From the moment that child executes its program, it
        and all its descendants are covered, and no one else. Scope `HOST` ignores this.
        """
        ...

    def close(self) -> None:
        """Detach everything and give back all resources. May be called twice."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


@runtime_checkable
class SignalReceiver(Protocol):
    """Turns an injection into batches of signals."""

    def receive(self, injection: Injection, timeout: float) -> SignalBatch:
        """Return what has fired since the last call, waiting up to `timeout` seconds for something to fire.

        With timeout 0 it returns at once. The batch may be empty; its `lost` says how many signals were lost since
        the last batch. The batch owns its memory.

        Raises:
            BackendError: the injection is not one that this receiver can read.
        """
        ...

    def close(self) -> None:
        """Give back what the receiver holds. May be called twice."""
        ...


@runtime_checkable
class SignalProcessor(Protocol):
    """Changes batches on their way to the store: filters, enriches, aggregates. Processors chain."""

    def process(self, batch: SignalBatch) -> SignalBatch:
        """Return the batch to pass on, which may be the same one; the table stays the same."""
        ...


@runtime_checkable
class SignalStore(Protocol):
    """Keeps runs, their signals and their evidence."""

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        """Keep one record of a run: all of it or nothing.

        What this has returned from survives the death of the process. `run` replaces the record of the same id,
        `signals` are appended, `evidence` is joined to what is there.

        Raises:
            StoreError: nothing of the record was kept.
        """
        ...

    def runs(self) -> list[Run]:
        """Return the runs, oldest first."""
        ...

    def evidence(self, run_id: str) -> Evidence:
        """Return the joined evidence of one run; StoreError if there is no such run."""
        ...

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        """Yield the signals of one run in the order in which they were saved, in batches of any size."""
        ...

    def close(self) -> None:
        """Close the store. May be called twice."""
        ...
