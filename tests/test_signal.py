"""Batches of signals: columns, cuts and joints agree with what iterating them gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_bot_core import SIGNAL_DTYPE, ProbeTable, Signal, SignalBatch
from ebpf_bot_core.testing import batches, plain_signals, probe_tables, sample_batch, sample_probes

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines stall

BASE = SIGNAL_DTYPE.names or ()


@law
@given(batch=batches())
def test_iteration_gives_the_columns_as_signals(batch: SignalBatch) -> None:
    signals = list(batch)
    assert len(signals) == len(batch)
    records = batch.records
    assert [signal.probe for signal in signals] == [batch.probes[row] for row in records["probe"].tolist()]
    for name in ("time", "count", "pid", "tid", "cpu"):
        assert [getattr(signal, name) for signal in signals] == records[name].tolist()
    for name in (records.dtype.names or ())[len(BASE) :]:
        assert repr([signal.extra[name] for signal in signals]) == repr(
            [row[name].tolist() for row in records]
        )


@law
@given(batch=batches(extra=False))
def test_total_is_the_sum_of_the_signals(batch: SignalBatch) -> None:
    assert batch.total == sum(signal.count for signal in batch)


@law
@given(data=st.data(), batch=batches())
def test_where_keeps_what_the_mask_says_and_all_losses(data: st.DataObject, batch: SignalBatch) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(batch), max_size=len(batch)))
    kept = batch.where(np.array(mask, np.bool_))
    everything = plain_signals([batch])
    assert plain_signals([kept]) == [
        signal for signal, wanted in zip(everything, mask, strict=True) if wanted
    ]
    assert kept.probes is batch.probes
    assert kept.lost == batch.lost
    assert kept.total + batch.where(~np.array(mask, np.bool_)).total == batch.total


@law
@given(data=st.data(), probes=probe_tables(min_size=1))
def test_concat_puts_batches_behind_each_other(data: st.DataObject, probes: ProbeTable) -> None:
    parts = data.draw(st.lists(batches(probes, extra=False), min_size=1, max_size=4))
    whole = SignalBatch.concat(parts)
    assert plain_signals([whole]) == plain_signals(parts)
    assert whole.lost == sum(part.lost for part in parts)
    assert whole.total == sum(part.total for part in parts)


def test_concat_refuses_batches_of_different_tables() -> None:
    """Row numbers of one table mean nothing in another, even if the names are the same."""
    with pytest.raises(ValueError, match="different tables"):
        SignalBatch.concat([sample_batch(sample_probes()), sample_batch(sample_probes())])


def test_an_empty_batch_has_no_signals_but_may_tell_of_losses() -> None:
    empty = SignalBatch.empty(sample_probes(), lost=3)
    assert (len(empty), empty.total, empty.lost, list(empty)) == (0, 0, 3, [])


@law
@given(counts=st.lists(st.integers(1, 2**40), max_size=4))
def test_count_mode_knows_no_thread(counts: list[int]) -> None:
    probes = sample_probes()
    rows = np.arange(len(counts))
    signals = list(SignalBatch.counted(probes, rows, np.array(counts, np.int64), time=7))
    assert signals == [
        Signal(time=7, probe=probe, count=count, pid=0, tid=0, cpu=-1, comm="")
        for probe, count in zip(probes, counts, strict=False)
    ]


def test_a_thread_name_that_is_no_utf8_can_still_be_shown() -> None:
    batch = sample_batch(sample_probes(), 2)
    batch.records["comm"] = [b"caf\xe9", "café".encode()]
    assert [signal.comm for signal in batch] == ["caf\N{REPLACEMENT CHARACTER}", "café"]


@pytest.mark.parametrize(
    "fields",
    [
        SIGNAL_DTYPE.descr[:-1],
        SIGNAL_DTYPE.descr[::-1],
        [("mine", "<u4"), *SIGNAL_DTYPE.descr],
        [("time", "<f8"), *SIGNAL_DTYPE.descr[1:]],
        [*SIGNAL_DTYPE.descr[:-1], ("comm", "S64")],
    ],
)
def test_a_batch_begins_with_the_documented_fields(fields: list[Any]) -> None:
    """In their order and with their types: everything downstream relies on both."""
    with pytest.raises(ValueError, match="begin"):
        SignalBatch(sample_probes(), np.zeros(1, np.dtype(fields)))


def test_a_plain_array_is_no_batch() -> None:
    plain: Any = np.zeros(3)
    with pytest.raises(ValueError, match="begin"):
        SignalBatch(sample_probes(), plain)


def test_padding_between_fields_does_not_matter() -> None:
    padded = np.zeros(2, np.dtype([*SIGNAL_DTYPE.descr, ("flag", "?"), ("latency", "<u8")], align=True))
    assert [signal.extra for signal in SignalBatch(sample_probes(), padded)] == [
        {"flag": False, "latency": 0}
    ] * 2
