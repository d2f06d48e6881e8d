"""Joins many small pieces of evidence without a pass over the whole table for each of them."""

from __future__ import annotations

from collections.abc import Iterable

from ebpf_bot_core import Evidence

__all__ = ["join_all"]


def join_all(pieces: Iterable[Evidence]) -> Evidence | None:
    """Return the join of all, or None of none.

    A run saves a record each step, most of them about a few probes. Joining is associative, so pieces are joined
    with pieces that are made of as many, as in a merge sort.
    """
    waiting: list[tuple[int, Evidence]] = []
    for piece in pieces:
        level, joined = 0, piece
        while waiting and waiting[-1][0] == level:
            joined = waiting.pop()[1].join(joined)
            level += 1
        waiting.append((level, joined))
    result: Evidence | None = None
    for _, piece in reversed(waiting):
        result = piece if result is None else piece.join(result)
    return result
