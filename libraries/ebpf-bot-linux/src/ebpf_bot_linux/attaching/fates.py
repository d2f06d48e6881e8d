"""Watching what becomes of the binaries' files while probes are in them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from ebpf_bot_linux.attaching.held_binary import Fate, HeldBinary

__all__ = ["Fates"]

_EVERY_SECONDS: Final = 1.0


class Fates:
    """The fate of each of some binaries; one that is not `SAME` any more stays so."""

    def __init__(self, binaries: Sequence[HeldBinary]) -> None:
        self._binaries = binaries
        self._known = [Fate.SAME] * len(binaries)
        self._next = 0.0

    def changes(self, *, at_once: bool = False) -> dict[int, Fate]:
        """Return the binaries whose fate has changed since the last call, by number.

        Looks at most once a second, and finds nothing meanwhile, unless `at_once`.
        """
        now = time.monotonic()
        if now < self._next and not at_once:
            return {}
        self._next = now + _EVERY_SECONDS
        changed = {}
        for i, binary in enumerate(self._binaries):
            if self._known[i] is Fate.SAME:
                self._known[i] = binary.fate()
                if self._known[i] is not Fate.SAME:
                    changed[i] = self._known[i]
        return changed
