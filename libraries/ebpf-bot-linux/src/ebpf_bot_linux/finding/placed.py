"""Points of many probes, found in another order than that in which they were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.points import Point

__all__ = ["Placed", "in_order"]

Placed = Point | UnprobeableError
"""Where a probe is placed, or why it cannot be."""


def in_order(count: int, parts: Iterable[tuple[Sequence[int], Sequence[Placed]]]) -> list[Placed]:
    """Return the points in the order of their numbers, 0 to `count` - 1, each of which is in one part."""
    found: list[Placed | None] = [None] * count
    for numbers, points in parts:
        for number, point in zip(numbers, points, strict=True):
            found[number] = point
    return [point for point in found if point is not None]
