"""Says whether signals are the same, however they are cut into batches and numbered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from ebpf_bot_core.signal import SIGNAL_DTYPE, SignalBatch

__all__ = ["PlainSignal", "plain_signals"]

PlainSignal: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...]]
"""The probe's name, all values as text, and the names and types of the appended fields."""


def plain_signals(batches: Iterable[SignalBatch]) -> list[PlainSignal]:
    """Return signals in a form that compares equal exactly where name, values, fields and order are the same.

    Padding between fields, the numbering of the table and the cuts between batches leave no trace in it; NaN equals
    NaN, and -0.0 differs from 0.0.
    """
    plain: list[PlainSignal] = []
    base = SIGNAL_DTYPE.names or ()
    for batch in batches:
        records = batch.records
        appended = (records.dtype.names or ())[len(base) :]
        fields = tuple((name, str(records.dtype[name])) for name in appended)
        columns = [records[name].tolist() for name in (*base, *appended) if name != "probe"]
        for probe, *values in zip(records["probe"].tolist(), *columns, strict=True):
            plain.append((batch.probes[probe], repr(values), fields))
    return plain
