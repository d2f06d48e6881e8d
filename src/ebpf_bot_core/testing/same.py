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

    Payloads are what their layouts make of them. Padding between fields, the numbering of the table and the cuts
    between batches leave no trace in it; NaN equals NaN, and -0.0 differs from 0.0.
    """
    plain: list[PlainSignal] = []
    base = SIGNAL_DTYPE.names or ()
    for batch in batches:
        records, appended = batch.records, batch.appended
        fields = tuple((name, str(records.dtype[name])) for name in appended)
        columns = [records[name].tolist() for name in (*base, *appended) if name != "probe"]
        within: dict[int, tuple[str, tuple[tuple[str, str], ...]]] = {}
        for positions, payload in batch.payloads():
            names = payload.dtype.names or ()
            types = tuple((name, str(payload.dtype[name])) for name in names)
            rows = zip(*(payload[name].tolist() for name in names), strict=True)
            within.update((at, (repr(row), types)) for at, row in zip(positions.tolist(), rows, strict=True))
        for at, (probe, *values) in enumerate(zip(records["probe"].tolist(), *columns, strict=True)):
            said, types = within.get(at, ("", ()))
            plain.append((batch.probes[probe], repr(values) + said, fields + types))
    return plain
