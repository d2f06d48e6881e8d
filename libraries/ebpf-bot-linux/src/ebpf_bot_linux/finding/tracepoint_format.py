"""The fields of a tracepoint's record, as its file `format` in tracefs lists them (Documentation/trace/events.rst).

    field:__data_loc char[] filename;	offset:8;	size:4;	signed:0;
    field:pid_t pid;	offset:12;	size:4;	signed:1;

The first 8 bytes are common to all records. A `__data_loc` field says in its low 16 bits where in the record its text
lies, and in the high ones how long it is.
"""

from __future__ import annotations

import re
from typing import Final

import attrs
import numpy as np

__all__ = ["COMMON", "TracepointField", "tracepoint_fields"]

COMMON: Final = 8
"""Bytes of the fields that every record begins with."""

_FIELD: Final = re.compile(
    r"^\tfield:(?P<type>[^;\n]*?)\s*(?P<name>\w+)(?P<array>\[[^\];\n]*\])?;"
    r"\toffset:(?P<offset>\d{1,5});\tsize:(?P<size>\d{1,5});\tsigned:(?P<signed>[01]);",
    re.MULTILINE,
)
_ELEMENTS: Final = {
    2: re.compile(r"(un)?signed short|short|_*[us]16"),
    4: re.compile(r"(un)?signed int|int|unsigned|_*[us]32"),
    8: re.compile(r"(unsigned )?long( long)?|_*[us]64"),
}
"""Bytes of the types that arrays are of; any other is taken for bytes."""


@attrs.frozen
class TracepointField:
    """One field.

    Attributes:
        offset: where it stands in the record, in bytes.
        dtype: what it is, itself an array of one dimension where the field is one; None for a text that is elsewhere
            in the record, where the 4 bytes at `offset` say.
    """

    name: str
    offset: int
    dtype: np.dtype[np.generic] | None


def tracepoint_fields(text: str) -> tuple[TracepointField, ...]:
    """Return the fields behind the common ones, in the order of the file; arrays whose length varies are left out."""
    found = {}
    for match in _FIELD.finditer(text):
        offset, size = int(match["offset"]), int(match["size"])
        if offset < COMMON or not size:
            continue
        kind = match["type"].removeprefix("const ")
        if kind.startswith(("__data_loc", "__rel_loc")):
            if kind.split() == ["__data_loc", "char[]"]:
                found[match["name"]] = TracepointField(match["name"], offset, None)
            continue
        dtype = _dtype(kind, size, is_array=match["array"] is not None, is_signed=match["signed"] == "1")
        found[match["name"]] = TracepointField(match["name"], offset, dtype)
    return tuple(found.values())


def _dtype(kind: str, size: int, *, is_array: bool, is_signed: bool) -> np.dtype[np.generic]:
    sign = "i" if is_signed else "u"
    if is_array and kind == "char":
        return np.dtype(f"S{size}")
    if is_array:
        element = next((n for n, types in _ELEMENTS.items() if types.fullmatch(kind) and size % n == 0), 1)
        return np.dtype((f"<{sign if element > 1 else 'u'}{element}", (size // element,)))
    if kind == "bool" and size == 1:
        return np.dtype("?")
    if size in (1, 2, 4, 8):
        return np.dtype(f"<{sign}{size}")
    return np.dtype(("u1", (size,)))
