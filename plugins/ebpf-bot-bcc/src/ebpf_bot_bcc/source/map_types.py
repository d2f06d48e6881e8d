"""Which types of maps a source may use: those that programs fill by themselves, and those that are read here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ebpf_bot_bcc.compiling import MapKind
from ebpf_bot_core import PlanError

__all__ = ["BUFFERS", "RINGBUF", "refuse_unusable"]

_PERF_EVENT_ARRAY: Final = 4  # BPF_MAP_TYPE_PERF_EVENT_ARRAY
RINGBUF: Final = 27  # BPF_MAP_TYPE_RINGBUF
BUFFERS: Final = (_PERF_EVENT_ARRAY, RINGBUF)
_USABLE: Final = frozenset(
    {
        1,  # HASH
        2,  # ARRAY
        5,  # PERCPU_HASH
        6,  # PERCPU_ARRAY
        7,  # STACK_TRACE
        9,  # LRU_HASH
        10,  # LRU_PERCPU_HASH
        11,  # LPM_TRIE
        22,  # QUEUE
        23,  # STACK
        *BUFFERS,
    }
)
_NAMES: Final = {3: "a table of programs, for tail calls", 12: "an array of maps", 13: "a hash of maps"}


def refuse_unusable(source: str, maps: Sequence[MapKind]) -> None:
    """Refuse maps that a tool of the author's has to fill: without it, what uses them does something else.

    Args:
        source: its name, for messages.

    Raises:
        PlanError: naming the first such map.
    """
    for kind in maps:
        if kind.type not in _USABLE:
            what = _NAMES.get(kind.type, f"of type {kind.type}, which this backend does not serve")
            raise PlanError(
                f"backend 'bcc': map {kind.name} of {source} is {what}",
                hint="nothing fills it here, as the tool around the source would; leave out what uses it",
            )
