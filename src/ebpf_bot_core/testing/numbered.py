"""Records that carry their own number in every part, so that a store can be asked how many it has, each whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import numpy as np
import pytest

from ebpf_bot_core.errors import StoreError
from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.run import Run
from ebpf_bot_core.signal import SignalBatch
from ebpf_bot_core.stages import SignalStore
from ebpf_bot_core.testing.samples import sample_batch, sample_evidence, sample_probes

__all__ = ["count_records", "must_refuse", "numbered_record", "save_until_full"]

_PER_RECORD: Final = 600
"""Signals in a record: enough that one takes several pages, so that a kill may fall into the middle."""


def numbered_record(run: Run, number: int) -> tuple[Run, SignalBatch, Evidence]:
    """Return the record that is saved as the `number`th, from 1: its number is in every part of it."""
    probes = sample_probes()
    return (
        attrs.evolve(run, steps=number),
        sample_batch(probes, _PER_RECORD, count=number),
        sample_evidence(probes, hits=number, signals_lost=number),
    )


def save_until_full(store: SignalStore, run: Run, saved: int, *, at_most: int) -> int:
    """Save the records after `saved` until one is refused, or so many are kept; return the number of the last kept."""
    for number in range(saved + 1, saved + at_most + 1):
        try:
            store.save(*numbered_record(run, number))
        except StoreError as error:
            _must_be_clear(error)
            return number - 1
    return saved + at_most


def count_records(store: SignalStore, run_id: str) -> int:
    """Return how many numbered records of a run are there, after making sure that each is there whole."""
    steps = [run.steps for run in store.runs() if run.id == run_id]
    assert len(steps) == 1, f"the store has {len(steps)} runs of that id"
    known = store.evidence(run_id)
    counts = [count for batch in store.signals(run_id) for count in batch.records["count"].tolist()]
    assert counts == np.repeat(np.arange(1, steps[0] + 1), _PER_RECORD).tolist()
    assert known == sample_evidence(sample_probes(), hits=steps[0], signals_lost=steps[0])
    return steps[0]


def must_refuse(use: Callable[[], object]) -> None:
    """Fail unless `use` raises a StoreError that people can act on."""
    with pytest.raises(StoreError) as caught:
        use()
    _must_be_clear(caught.value)


def _must_be_clear(error: StoreError) -> None:
    assert error.message, "the error has no message"
    assert error.hint, "the error has no hint"
    assert "\n" not in error.message + error.hint, "message and hint are one line each"
