"""Payloads as JSON: a table for each layout, with the signals that its rows belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Layouts, SignalBatch
from ebpf_bot_file.appended import dtype_of, from_plain, to_plain

__all__ = ["payloads_from_plain", "payloads_to_plain"]


def payloads_to_plain(signals: SignalBatch) -> list[dict[str, Any]]:
    """Return `{"signals": [places], "fields": ...}` for each layout; the fields as in `appended`.

    Raises:
        StoreError: as for appended fields.
    """
    return [
        {"signals": positions, "fields": to_plain(columns, columns.dtype.names or ())}
        for positions, columns in signals.payloads()
    ]


def payloads_from_plain(
    plain: list[dict[str, Any]], records: NDArray[np.void], probes: int
) -> tuple[NDArray[np.void], Layouts | None]:
    """Return the records with their payloads, and the layouts; both as `Layouts.pack` has them.

    What is no table of ours raises one of `MALFORMED`.
    """
    if not plain:
        return records, None
    groups = []
    for table in plain:
        positions = np.array(table["signals"], np.intp)
        columns = np.zeros(len(positions), dtype_of(table["fields"]))
        from_plain(table["fields"], columns)
        groups.append((positions, {name: columns[name] for name in columns.dtype.names or ()}))
    return Layouts.pack(records, groups, probes)
