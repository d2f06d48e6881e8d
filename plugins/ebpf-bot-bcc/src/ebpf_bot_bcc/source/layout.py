"""The layout of a user's struct: what BCC says of its fields in C, as a numpy dtype."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

__all__ = ["struct_dtype"]

_TEXT: Final = "S1"
_NAMED: Final = {
    "char": _TEXT,
    "signed char": "i1",
    "unsigned char": "u1",
    "_Bool": "?",
    "bool": "?",
    "short": "<i2",
    "unsigned short": "<u2",
    "int": "<i4",
    "unsigned int": "<u4",
    "long": "<i8",
    "unsigned long": "<u8",
    "long long": "<i8",
    "unsigned long long": "<u8",
    "size_t": "<u8",
    "pid_t": "<i4",
    "uid_t": "<u4",
    "gid_t": "<u4",
    "dev_t": "<u4",
}
_SIZED: Final = re.compile(r"(?:__)?([us])(8|16|32|64)|(u?)int(8|16|32|64)_t")
_ARRAY: Final = re.compile(r"(?P<element>.*?) ?\[(?P<length>\d+)\]")


def struct_dtype(fields: Sequence[tuple[str, str]]) -> np.dtype[np.void] | None:
    """Return the dtype of a struct whose fields stand as C aligns them; None where a field's type is not known.

    Arrays of `char` are texts, ended by the first zero byte. A struct that is packed is taken for one that is not: BCC does
    not tell.

    Args:
        fields: (name, type in C) each.
    """
    spec: list[Any] = []
    for name, kind in fields:
        array = _ARRAY.fullmatch(kind)
        element = _number(array["element"] if array else kind)
        if element is None:
            return None
        if not array:
            spec.append((name, element))
        elif element == _TEXT:
            spec.append((name, f"S{array['length']}"))
        else:
            spec.append((name, element, (int(array["length"]),)))
    return np.dtype(spec, align=True) if spec else None


def _number(kind: str) -> str | None:
    """Return the numpy type of a type in C that is not an array."""
    if kind.endswith("*"):
        return "<u8"
    if kind.startswith("enum "):
        return "<u4"
    sized = _SIZED.fullmatch(kind)
    if sized is None:
        return _NAMED.get(kind)
    signed = sized[1] == "s" or (sized[3] == "" and sized[1] is None)
    return f"<{'i' if signed else 'u'}{int(sized[2] or sized[4]) // 8}"
