"""Keeps the fields that a receiver appended to its signals: one JSON object a signal, and their types a batch.

JSON has neither bytes nor infinities: bytes are text as in `ebpf_bot_core.escape_bytes`, and numbers that are not finite are the strings
`nan`, `inf` and `-inf`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import SIGNAL_DTYPE, StoreError, escape_bytes, unescape_bytes

__all__ = ["appended_dtype", "describe", "from_json", "to_json"]

_BASE: Final = len(SIGNAL_DTYPE.names or ())
_KINDS: Final = "biufSUV"

Plain: TypeAlias = Any
"""What JSON has: a number, a boolean, a string, or a list of these."""


def describe(dtype: np.dtype[Any]) -> str:
    """Return the appended fields of a batch's dtype as JSON.

    Raises:
        StoreError: a field is of a type that JSON cannot keep: an object, a complex number, a date, a structure.
    """
    described = []
    for name in (dtype.names or ())[_BASE:]:
        base, shape = dtype[name].base, dtype[name].shape
        if (
            base.kind not in _KINDS
            or base.names
            or (base.kind == "f" and base.itemsize > np.dtype("f8").itemsize)
        ):
            raise StoreError(
                f"the store `sqlite` cannot keep the signal field {name!r}, which has the type {base}",
                hint="the receiver or processor that appends it must use numbers, booleans, text or bytes",
            )
        described.append((name, base.str, shape))
    return json.dumps(described)


def appended_dtype(description: str) -> np.dtype[Any]:
    """Return the dtype of signals with the fields that `describe` has described."""
    fields: list[Any] = [(name, kind, tuple(shape)) for name, kind, shape in json.loads(description)]
    return np.dtype([*SIGNAL_DTYPE.descr, *fields])


def to_json(records: NDArray[np.void]) -> list[str]:
    """Return the appended fields of each signal as a JSON object."""
    names = (records.dtype.names or ())[_BASE:]
    columns = [_each(records[name].tolist(), _ENCODE.get(records.dtype[name].base.kind)) for name in names]
    return [json.dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def from_json(objects: Sequence[str], into: NDArray[np.void]) -> None:
    """Fill the appended fields of `into` from what `to_json` has made."""
    rows = [json.loads(text) for text in objects]
    for name in (into.dtype.names or ())[_BASE:]:
        decode = _DECODE.get(into.dtype[name].base.kind)
        values = [_each(row[name], decode) for row in rows]
        into[name] = np.array(values, into.dtype[name].base).reshape(into[name].shape)


def _each(value: Plain, change: Callable[[Any], Plain] | None) -> Plain:
    """Apply `change` to a value, or to all in a list of lists, as fields of arrays have them."""
    if change is None:
        return value
    return [_each(one, change) for one in value] if isinstance(value, list) else change(value)


def _finite_or_word(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)


_ENCODE: Final[dict[str, Callable[[Any], Plain]]] = {
    "f": _finite_or_word,
    "S": escape_bytes,
    "V": escape_bytes,
}
_DECODE: Final[dict[str, Callable[[Any], Any]]] = {"f": float, "S": unescape_bytes, "V": unescape_bytes}
