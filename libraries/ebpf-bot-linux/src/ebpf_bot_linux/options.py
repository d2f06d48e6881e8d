"""What a plan may say about stream mode."""

from __future__ import annotations

import mmap
from typing import Any, Final

import attrs

__all__ = ["StreamOptions"]

_MIB: Final = 1 << 20
_MOST_RING_BYTES: Final = 1 << 30
_TEXT_STEP: Final = 8


def _power_of_two(_: object, attribute: attrs.Attribute[Any], value: int) -> None:
    nearest = 1 << (min(max(value, mmap.PAGESIZE), _MOST_RING_BYTES) - 1).bit_length()
    if value != nearest:
        raise ValueError(
            f"{attribute.name} must be a power of two from {mmap.PAGESIZE} to {_MOST_RING_BYTES}, such as {nearest}"
        )


def _whole_words(_: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if not _TEXT_STEP <= value <= 4096 or value % _TEXT_STEP:  # noqa: PLR2004 - PATH_MAX
        nearest = min(max(round(value / _TEXT_STEP) * _TEXT_STEP, _TEXT_STEP), 4096)
        raise ValueError(f"{attribute.name} must be a multiple of 8 from 8 to 4096, such as {nearest}")


@attrs.frozen
class StreamOptions:
    """Options of an injector; they matter in stream mode.

    Attributes:
        strings: which arguments are addresses of text that is to be read, each `PROBE:ARGUMENT`, such as
            `syscall:openat:filename` or `uprobe:/bin/x:f:arg0`; the probe may be a pattern.
        string_bytes: how much of such a text is kept, its end included. Each takes as much room in every record of
            the run.
        ring_bytes: the size of the ring buffer; kernel memory that cannot be swapped.
    """

    strings: tuple[str, ...] = ()
    string_bytes: int = attrs.field(default=128, validator=_whole_words)
    ring_bytes: int = attrs.field(default=64 * _MIB, validator=_power_of_two)
