"""Keeps what a receiver appended to its signals, or put into their payloads: one JSON object a signal, the types a batch.

JSON has neither bytes nor infinities: bytes are text as in `ebpf_bot_core.escape_bytes`, and numbers that are not finite are the strings
`nan`, `inf` and `-inf`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import SignalBatch, StoreError, escape_bytes, unescape_bytes

__all__ = ["Description", "describe", "from_json", "to_json"]

_KINDS: Final = "biufSUV"

Plain: TypeAlias = Any
"""What JSON has: a number, a boolean, a string, or a list of these."""


def describe(signals: SignalBatch, numbers: NDArray[np.int64]) -> str:
    """Return what is needed to read the objects of a batch again, as JSON.

    That is a list of the appended fields, each with its numpy type and shape; and, where there are payloads, behind
    them an object with the fields of each layout, and the number of the layout of each probe's number.

    Args:
        signals: the batch.
        numbers: shape (len(signals.probes),), the number of each probe.

    Raises:
        StoreError: a field is of a type that JSON cannot keep: an object, a complex number, a date, a structure.
    """
    described: list[Any] = _described(signals.records.dtype, signals.appended)
    layouts = signals.layouts
    if layouts is not None and layouts.dtypes:
        rows = np.unique(signals.records["probe"])
        rows = rows[layouts.of_probe[rows] >= 0]
        of_probe = zip(numbers[rows].tolist(), layouts.of_probe[rows].tolist(), strict=True)
        fields = [_described(dtype, dtype.names or ()) for dtype in layouts.dtypes]
        described.append({"layouts": fields, "of_probe": dict(of_probe)})
    return json.dumps(described)


def _described(dtype: np.dtype[Any], names: Sequence[str]) -> list[tuple[str, str, tuple[int, ...]]]:
    described = []
    for name in names:
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
    return described


def to_json(signals: SignalBatch) -> list[str | None]:
    """Return what was appended to each signal, and its payload, as one JSON object; None where there is nothing."""
    objects: list[str | None] = [None] * len(signals)
    if signals.appended:
        objects = [*_objects(signals.records, signals.appended)]
    for positions, columns in signals.payloads():
        made = _objects(columns, columns.dtype.names or ())
        if len(positions) == len(signals) and not signals.appended:
            return [*made]
        for at, text in zip(positions.tolist(), made, strict=True):
            before = objects[at]
            objects[at] = text if before is None else f"{before[:-1]},{text[1:]}"
    return objects


def _objects(records: NDArray[np.void], names: Sequence[str]) -> Iterator[str]:
    """Return a JSON object of some fields for each record, by filling in a template, since that is fast."""
    # A percent sign is doubled, since the template is one of printf. What all records have in common, flags often, is
    # written into it at once.
    members, varying = [], []
    for name in names:
        values = records[name]
        common = len(values) > 0 and values.dtype.kind in "biu" and bool((values == values[0]).all())
        literal = json.dumps(values[0].tolist(), separators=(",", ":")) if common else "%s"
        members.append(json.dumps(name).replace("%", "%%") + ":" + literal)
        varying += [] if common else [_literals(values, records.dtype[name])]
    template = "{" + ",".join(members) + "}"
    if not varying:
        return itertools.repeat(template % (), len(records))
    return map(template.__mod__, zip(*varying, strict=True))


def _literals(values: NDArray[Any], dtype: np.dtype[Any]) -> list[Any]:
    """Return the values as what `%s` writes as JSON."""
    plain: list[Any] = values.tolist()
    if dtype.kind in "iu" and not dtype.shape:
        return plain
    if dtype.kind in "SUV" and not dtype.shape:
        # The same texts come again and again.
        encode = _ENCODE.get(dtype.kind)
        known = {value: json.dumps(encode(value) if encode else value) for value in set(plain)}
        return [known[value] for value in plain]
    return [json.dumps(_each(value, _ENCODE.get(dtype.base.kind))) for value in plain]


@attrs.frozen
class Description:
    """What `describe` has said of a batch."""

    appended: list[Any]
    layouts: list[list[Any]]
    of_probe: dict[int, int]

    @classmethod
    def read(cls, text: str) -> Description:
        """Read it."""
        listed = json.loads(text)
        if not listed or not isinstance(listed[-1], dict):
            return cls(_fields(listed), [], {})
        last = listed.pop()
        of_probe = {int(number): layout for number, layout in last["of_probe"].items()}
        return cls(_fields(listed), [_fields(layout) for layout in last["layouts"]], of_probe)


def _fields(described: Sequence[Any]) -> list[Any]:
    return [(name, kind, tuple(shape)) for name, kind, shape in described]


def from_json(objects: Sequence[str], positions: NDArray[np.intp], fields: list[Any]) -> NDArray[np.void]:
    """Return some fields of the objects at some positions, as a structured array of shape (len(positions),)."""
    rows = [json.loads(objects[at]) for at in positions.tolist()]
    made = np.zeros(len(rows), fields)
    for name in made.dtype.names or ():
        decode = _DECODE.get(made.dtype[name].base.kind)
        values = [_each(row[name], decode) for row in rows]
        made[name] = np.array(values, made.dtype[name].base).reshape(made[name].shape)
    return made


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
