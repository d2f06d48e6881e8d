"""Signals: what probes said, in columnar batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.layouts import PAYLOAD, Layouts
from ebpf_bot_core.probe import ProbeTable

__all__ = ["SIGNAL_DTYPE", "Signal", "SignalBatch"]

SIGNAL_DTYPE: Final = np.dtype(
    [
        ("time", "<i8"),  # ns since the Unix epoch
        ("count", "<u8"),  # how often it fired: 1 in stream mode, n since the last batch in count mode
        ("probe", "<u4"),  # index into the batch's table
        ("pid", "<u4"),  # process id in the initial pid namespace; 0: not known (count mode)
        ("tid", "<u4"),  # thread id, likewise
        ("cpu", "<i4"),  # -1: not known; UNRECORDED: the signal stands for hits that left no record
        ("comm", "S16"),  # the thread's name; empty: not known
    ]
)
"""The fields that every batch begins with; a receiver may append fields of its own. What differs from probe to probe
(arguments, the fields of tracepoints) goes into one of them, `payload`, as `ebpf_bot_core.Layouts` has it."""


@attrs.frozen
class Signal:
    """One observation, as iterating a batch gives it. The fields are those of `SIGNAL_DTYPE`.

    Attributes:
        extra: fields that the receiver appended, by name, those within the payload among them.
    """

    time: int
    probe: str
    count: int
    pid: int
    tid: int
    cpu: int
    comm: str
    extra: dict[str, object] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class SignalBatch:
    """Many signals at once.

    Attributes:
        probes: the table that the field `probe` indexes.
        records: shape (n,), a structured array whose first fields are those of `SIGNAL_DTYPE`.
        lost: signals lost since the batch before, as far as the backend knows.
        layouts: how to read the field `payload`; None where there is none. A processor that makes a new batch keeps
            them: `attrs.evolve(batch, records=...)`.
    """

    probes: ProbeTable
    records: NDArray[np.void]
    lost: int = 0
    layouts: Layouts | None = None

    def __attrs_post_init__(self) -> None:
        dtype, base = self.records.dtype, SIGNAL_DTYPE.names or ()
        if (dtype.names or ())[: len(base)] != base or any(
            dtype[name] != SIGNAL_DTYPE[name] for name in base
        ):
            raise ValueError(f"a batch's fields begin with {SIGNAL_DTYPE.descr}, not {dtype}")
        if self.layouts is not None and self.layouts.dtypes and dtype[PAYLOAD].itemsize != self.layouts.size:
            raise ValueError(
                f"the payload has {dtype[PAYLOAD].itemsize} bytes, its layouts {self.layouts.size}"
            )

    @classmethod
    def empty(cls, probes: ProbeTable, *, lost: int = 0) -> SignalBatch:
        """Return a batch of no signals."""
        return cls(probes, np.zeros(0, SIGNAL_DTYPE), lost)

    @classmethod
    def counted(
        cls, probes: ProbeTable, rows: NDArray[np.integer], counts: NDArray[np.integer], time: int
    ) -> SignalBatch:
        """Return a batch of count mode: probe `rows[i]` fired `counts[i]` times up to `time` (ns)."""
        records = np.zeros(len(rows), SIGNAL_DTYPE)
        records["time"] = time
        records["count"] = counts
        records["probe"] = rows
        records["cpu"] = -1
        return cls(probes, records)

    @classmethod
    def concat(cls, batches: Sequence[SignalBatch]) -> SignalBatch:
        """Return one batch of several that share a table; needs at least one."""
        first = batches[0]
        if any(batch.probes is not first.probes for batch in batches):
            raise ValueError("batches of different tables cannot be joined")
        if any(batch.layouts is not first.layouts for batch in batches):
            raise ValueError("batches of different layouts cannot be joined")
        if len(batches) == 1:
            return first
        records = np.concatenate([batch.records for batch in batches])
        return cls(first.probes, records, sum(batch.lost for batch in batches), first.layouts)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def total(self) -> int:
        """How many times the probes fired: the sum of `count`."""
        return int(self.records["count"].sum())

    def where(self, mask: NDArray[np.bool_]) -> SignalBatch:
        """Return the signals that a mask of shape (len(self),) keeps."""
        return attrs.evolve(self, records=self.records[mask])

    @property
    def appended(self) -> tuple[str, ...]:
        """The names of the fields behind those of `SIGNAL_DTYPE`, without a payload that has layouts."""
        names = (self.records.dtype.names or ())[len(SIGNAL_DTYPE.names or ()) :]
        return names if self.layouts is None else tuple(name for name in names if name != PAYLOAD)

    def payloads(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.void]]]:
        """Yield where the signals of each layout are, shape (n,), and what their payloads say, a structured array (n,)."""
        if self.layouts is not None and self.layouts.dtypes:
            yield from self.layouts.groups(self.records)

    def __iter__(self) -> Iterator[Signal]:
        names, appended = self.probes.names, self.appended
        # Column by column, since a whole record leaves the arrays in it as arrays, which do not compare.
        columns = [self.records[field].tolist() for field in (*(SIGNAL_DTYPE.names or ()), *appended)]
        within: dict[int, dict[str, object]] = {}
        for positions, payload in self.payloads():
            fields = payload.dtype.names or ()
            rows = zip(*(payload[field].tolist() for field in fields), strict=True)
            within.update(
                (at, dict(zip(fields, row, strict=True)))
                for at, row in zip(positions.tolist(), rows, strict=True)
            )
        for at, (time, count, probe, pid, tid, cpu, comm, *more) in enumerate(zip(*columns, strict=True)):
            extra = dict(zip(appended, more, strict=True)) | within.get(at, {})
            yield Signal(time, names[probe], count, pid, tid, cpu, comm.decode("utf-8", "replace"), extra)
