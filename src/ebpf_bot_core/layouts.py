"""Layouts: how to read what a receiver appended to its signals as bytes, a different thing for each probe.

What a probe says beside who hit it depends on the probe: a function has arguments, a tracepoint the fields of its
record. So that a batch stays one array, all of it is bytes in one appended field, `payload`, and a layout, which is a
numpy dtype as wide as that field, names what lies where in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["PAYLOAD", "UNRECORDED", "Layouts"]

PAYLOAD: Final = "payload"
"""The name of the appended field, an array of bytes, that layouts describe."""

UNRECORDED: Final = -2
"""What stands for the CPU of a signal without payload: it stands for hits that left no record."""


@attrs.frozen(eq=False)
class Layouts:
    """How the payloads of the probes of one table are read.

    Attributes:
        dtypes: the layouts, structured dtypes that are all as wide as the payload. Their fields are numbers,
            booleans, `S` texts, ended by the first zero byte, or arrays of these. Bytes that no field covers mean
            nothing.
        of_probe: shape (len(probes),), the index of each probe's layout; -1 for a probe without payload.
    """

    dtypes: tuple[np.dtype[np.void], ...]
    of_probe: NDArray[np.intp]

    @classmethod
    def of(cls, by_probe: Sequence[np.dtype[np.void] | None]) -> Layouts:
        """Return the layouts of the probes of a table, in its order; equal ones are kept once."""
        numbers: dict[Any, int] = {None: -1}
        chosen = [numbers.setdefault(dtype, len(numbers) - 1) for dtype in by_probe]
        return cls(tuple(dtype for dtype in numbers if dtype is not None), np.array(chosen, np.intp))

    @property
    def size(self) -> int:
        """How many bytes a payload has; 0 where there is no layout."""
        return self.dtypes[0].itemsize if self.dtypes else 0

    def groups(self, records: NDArray[np.void]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.void]]]:
        """Yield, for each layout that occurs, where its records are, and their payloads as columns.

        A signal whose CPU is `UNRECORDED` has no payload.

        Args:
            records: of a batch with this object as its layouts.
        """
        which = self.of_probe[records["probe"]]
        which[records["cpu"] == UNRECORDED] = -1
        if not len(which):
            return
        if (which == which[0]).all():
            if which[0] >= 0:
                yield np.arange(len(which)), records[PAYLOAD].view(self.dtypes[which[0]])[:, 0]
            return
        # Sorting small integers takes time in proportion to their number.
        small = which.astype(np.int16) if len(self.dtypes) < np.iinfo(np.int16).max else which
        order = np.argsort(small, kind="stable")
        present, starts = np.unique(which[order], return_index=True)
        for number, positions in zip(present.tolist(), np.split(order, starts[1:]), strict=True):
            if number >= 0:
                yield positions, records[PAYLOAD][positions].view(self.dtypes[number])[:, 0]

    @classmethod
    def pack(
        cls,
        records: NDArray[np.void],
        groups: Sequence[tuple[NDArray[np.intp], Mapping[str, NDArray[Any]]]],
        probes: int,
    ) -> tuple[NDArray[np.void], Layouts]:
        """Do the inverse of `groups`: return records with a payload, and the layouts to read it with.

        Args:
            records: signals without a payload.
            groups: where the signals of each layout are, and their columns by name, each of shape (n, ...).
            probes: how many probes the table has.
        """
        packed = [
            np.dtype([(name, c.dtype, c.shape[1:]) for name, c in columns.items()]) for _, columns in groups
        ]
        size = max((dtype.itemsize for dtype in packed), default=0)
        if not size:
            return records, cls((), np.full(probes, -1, np.intp))
        widened = tuple(_widened(dtype, size) for dtype in packed)
        filled = np.zeros(len(records), [*records.dtype.descr, (PAYLOAD, "u1", (size,))])
        for name in records.dtype.names or ():
            filled[name] = records[name]
        of_probe = np.full(probes, -1, np.intp)
        for number, (dtype, (positions, columns)) in enumerate(zip(widened, groups, strict=True)):
            part = np.zeros(len(positions), dtype)
            for name, column in columns.items():
                part[name] = column
            filled[PAYLOAD][positions] = part.view(np.uint8).reshape(-1, size)
            of_probe[records["probe"][positions]] = number
        return filled, cls(widened, of_probe)


def _widened(dtype: np.dtype[np.void], size: int) -> np.dtype[np.void]:
    """Return the same fields in a dtype of so many bytes."""
    names = dtype.names or ()
    fields: Mapping[str, Any] = dtype.fields or {}
    return np.dtype(
        {
            "names": list(names),
            "formats": [fields[name][0] for name in names],
            "offsets": [fields[name][1] for name in names],
            "itemsize": size,
        }
    )
