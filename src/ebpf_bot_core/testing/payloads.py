"""Batches with payloads, as a receiver in stream mode gives them, for tests."""

from __future__ import annotations

from typing import Any, Final

import attrs
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ebpf_bot_core.layouts import Layouts
from ebpf_bot_core.probe import ProbeTable
from ebpf_bot_core.signal import SignalBatch
from ebpf_bot_core.testing.samples import batches, sample_batch

__all__ = ["payload_batches", "sample_payloads"]

_TYPES: Final = ("?", "<i4", "<i8", "<u8", "<u2", "S7", "<f8", "(3,)u1", "(2,)<i8")

_NAMES: Final = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=5)
"""Quotes, backslashes and percent signs among them; numpy warns of a file whose names are not ASCII."""


def sample_payloads(probes: ProbeTable, size: int = 10) -> SignalBatch:
    """Return signals of all probes in turn: of every three probes one has arguments, one a file name, one nothing."""
    batch = sample_batch(probes, size)
    kind = batch.records["probe"] % 3
    calls, opens = np.flatnonzero(kind == 0), np.flatnonzero(kind == 1)
    names = np.array([b"/etc/passwd", b"/tmp/\xff\\", b""], "S24")
    groups: list[tuple[NDArray[np.intp], dict[str, NDArray[Any]]]] = [
        (calls, {f"arg{i}": calls.astype(np.int64) * 7 - i for i in range(6)}),
        (opens, {"filename": names[opens % 3], "fd": opens.astype(np.int32), "truncated": opens % 2 == 0}),
    ]
    records, layouts = Layouts.pack(batch.records, groups, len(probes))
    return attrs.evolve(batch, records=records, layouts=layouts)


@st.composite
def payload_batches(draw: st.DrawFn) -> SignalBatch:
    """Draw a batch whose signals may have payloads, of a few layouts, any bytes; appended fields as well."""
    batch = draw(batches())
    dtypes = [
        np.dtype([(name, draw(st.sampled_from(_TYPES))) for name in names])
        for names in draw(
            st.lists(
                st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4, unique=True), max_size=3
            )
        )
    ]
    of_probe = [draw(st.integers(-1, len(dtypes) - 1)) for _ in batch.probes]
    which = np.array(of_probe, np.intp)[batch.records["probe"]]
    groups = []
    for number, dtype in enumerate(dtypes):
        positions = np.flatnonzero(which == number)
        raw = draw(
            st.binary(min_size=len(positions) * dtype.itemsize, max_size=len(positions) * dtype.itemsize)
        )
        columns = np.frombuffer(raw, dtype)
        groups.append((positions, {name: _proper(columns[name]) for name in dtype.names or ()}))
    records, layouts = Layouts.pack(batch.records, groups, len(batch.probes))
    return attrs.evolve(batch, records=records, layouts=layouts)


def _proper(column: NDArray[Any]) -> NDArray[Any]:
    """Return bytes as booleans where they are to be some; numpy lets others pass, and stores need not."""
    return column.view(np.uint8) % 2 == 1 if column.dtype.kind == "b" else column
