"""Contents: what a program leaves in the payload of a probe's records, by the kind of the probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
import numpy as np

from ebpf_bot_linux.finding.tracepoint_format import COMMON, TracepointField
from ebpf_bot_linux.finding.usdt_arguments import MOST, Operand, Place

__all__ = ["FUNCTION", "RETURN", "TEXTS", "Contents", "Value", "of_arguments", "of_tracepoint", "of_usdt"]

TEXTS: Final = 4
"""Most texts of one probe; `TEXTS` of stream.bpf.c."""
_WORD: Final = 8
_MOST_RECORD: Final = 256
"""Bytes of a tracepoint's record that are copied; few have more, and fields beyond are left out."""


@attrs.frozen
class Value:
    """A field at a fixed place.

    Attributes:
        offset: in the payload, in bytes.
    """

    name: str
    dtype: np.dtype[Any]
    offset: int


@attrs.frozen
class Contents:
    """What the records of one probe hold.

    Attributes:
        values: the fields in the first part of the payload.
        size: bytes of that part; a multiple of 8.
        copied: bytes that the program copies of its context; 0 where it makes the values itself.
        texts: names of texts that the kernel's record holds, and where in it 4 bytes say where each lies.
        addresses: whether a value may be the address of a text in the program's memory.
        fallible: whether reading the values may fail.
    """

    values: tuple[Value, ...]
    size: int
    copied: int = 0
    texts: tuple[tuple[str, int], ...] = ()
    addresses: bool = False
    fallible: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all fields."""
        return (*(value.name for value in self.values), *(name for name, _ in self.texts))


def _words(named: Sequence[tuple[str, Any]]) -> tuple[Value, ...]:
    return tuple(Value(name, np.dtype(kind), _WORD * i) for i, (name, kind) in enumerate(named))


FUNCTION: Final = Contents(_words([(f"arg{i}", "<i8") for i in range(6)]), 6 * _WORD, addresses=True)
"""The registers of a function's first six integers or pointers; how many of them it takes nobody knows."""
RETURN: Final = Contents(_words([("ret", "<i8"), ("latency", "<i8")]), 2 * _WORD, addresses=True)
"""What a function returned, and ns since it was called; -1 where that is not known."""


def of_arguments(named: Sequence[tuple[str, Any]], *, of_kernel: bool = False) -> Contents:
    """Return the contents for a syscall's arguments, or, of the kernel, for those of a raw tracepoint.

    Args:
        named: name and type of each; one without a name is called after its number.
    """
    filled = [(name or f"arg{i}", kind) for i, (name, kind) in enumerate(named)]
    if of_kernel:
        return Contents(_words(filled), _WORD * len(filled), copied=_WORD * len(filled))
    return Contents(_words(filled), 6 * _WORD, addresses=True)


def of_tracepoint(fields: Sequence[TracepointField]) -> Contents:
    """Return the contents for a tracepoint's record."""
    values, texts, copied = [], [], 0
    for field in fields:
        if field.dtype is None:
            texts.append((field.name, field.offset))
            continue
        end = field.offset - COMMON + field.dtype.itemsize
        if end <= _MOST_RECORD:
            values.append(Value(field.name, field.dtype, field.offset - COMMON))
            copied = max(copied, end)
    return Contents(tuple(values), -(-copied // _WORD) * _WORD, copied=copied, texts=tuple(texts[:TEXTS]))


def of_usdt(sites: Sequence[Sequence[Operand | None]]) -> Contents:
    """Return the contents for a USDT probe; an argument is there if it can be read at every place.

    Args:
        sites: where the arguments are at each of the probe's places.
    """
    values = []
    for number, operands in enumerate(zip(*sites, strict=False)):
        known = [operand for operand in operands if operand is not None]
        if len(known) == len(operands):
            # The program widens all of them; a sign anywhere makes it a signed number.
            kind = "<i8" if any(each.is_signed for each in known) else "<u8"
            values.append(Value(f"arg{number}", np.dtype(kind), _WORD * number))
    fallible = any(each is not None and each.place >= Place.MEMORY for site in sites for each in site)
    return Contents(tuple(values), MOST * _WORD, addresses=True, fallible=fallible)
