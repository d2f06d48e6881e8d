"""Fields that a receiver appended to its signals, or put into their payloads, as JSON: name, numpy type, and all values.

JSON has neither bytes nor infinities: bytes are strings as in `ebpf_bot_core.escape_bytes`, and numbers that are not finite are the
strings `nan`, `inf` and `-inf`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import (
    StoreError,
    escape_bytes,
    escape_string,
    unescape_bytes,
    unescape_string,
)

__all__ = ["dtype_of", "from_plain", "to_plain"]

_KINDS: Final = "biufSUV"

Plain: TypeAlias = Any
"""What JSON has: a number, a boolean, a string, or a list of these; also a numpy array of numbers."""


def to_plain(records: NDArray[np.void], names: Sequence[str]) -> dict[str, dict[str, Plain]]:
    """Return each of some fields as `{"type": ..., "shape": [...], "values": [...]}`.

    Raises:
        StoreError: a field is of a type that JSON cannot keep: an object, a complex number, a date, a structure.
    """
    return {
        escape_string(name): {
            "type": records.dtype[name].base.str,
            "shape": records.dtype[name].shape,
            "values": _values(name, records[name]),
        }
        for name in names
    }


def _values(name: str, values: NDArray[Any]) -> Plain:
    dtype = values.dtype
    if (
        dtype.kind not in _KINDS
        or dtype.names
        or (dtype.kind == "f" and dtype.itemsize > np.dtype("f8").itemsize)
    ):
        raise StoreError(
            f"the store `file` cannot keep the signal field {name!r}, which has the type {dtype}",
            hint="the receiver or processor that appends it must use numbers, booleans, text or bytes",
        )
    if dtype.kind == "f" and not np.isfinite(values).all():
        return _each(values.tolist(), lambda number: number if np.isfinite(number) else str(number))
    if dtype.kind in "biuf":
        return np.ascontiguousarray(values, dtype.newbyteorder("="))
    return _each(values.tolist(), escape_string if dtype.kind == "U" else escape_bytes)


def dtype_of(plain: dict[str, dict[str, Plain]]) -> list[Any]:
    """Return these fields as a part of a structured dtype."""
    return [(unescape_string(name), field["type"], tuple(field["shape"])) for name, field in plain.items()]


def from_plain(plain: dict[str, dict[str, Plain]], into: NDArray[np.void]) -> None:
    """Fill these fields of `into` from what `to_plain` has made."""
    for text, field in plain.items():
        name = unescape_string(text)
        decode = _DECODE.get(into.dtype[name].base.kind)
        values = _each(field["values"], decode) if decode else field["values"]
        into[name] = np.array(values, into.dtype[name].base).reshape(into[name].shape)


def _each(value: Plain, change: Callable[[Any], Plain]) -> Plain:
    """Apply `change` to a value, or to all in a list of lists, as fields of arrays have them."""
    return [_each(one, change) for one in value] if isinstance(value, list) else change(value)


_DECODE: Final[dict[str, Callable[[Any], Any]]] = {
    "f": float,
    "S": unescape_bytes,
    "U": unescape_string,
    "V": unescape_bytes,
}
