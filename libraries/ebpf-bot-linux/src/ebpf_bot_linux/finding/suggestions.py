"""The nearest existing names to a mistyped one, for the sentence that says that there is no such name."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from typing import Final

__all__ = ["Suggestions"]

_BUDGET: Final = 200_000
"""Names compared in one search for probes, half a second: a courtesy must not outlast the answer."""
_LOOKED_OVER: Final = 10
"""Names whose length is looked at in the time of one comparison."""
_MAX_WORD: Final = 100
"""Comparing two words takes time in the product of their lengths."""


class Suggestions:
    """Suggests names as long as its budget lasts: of a thousand mistyped names the first ones get suggestions."""

    def __init__(self) -> None:
        self._left = _BUDGET

    def renew(self) -> None:
        """Begin a new search, with the whole budget."""
        self._left = _BUDGET

    def near(self, word: str, names: Iterable[str]) -> str:
        """Return `; did you mean 'X' or 'Y'?` to end a sentence with, empty where no name is near `word`."""
        if len(word) > _MAX_WORD or self._left <= 0:
            return ""
        known = dict.fromkeys(names)
        alike = (name for name in known if abs(len(name) - len(word)) <= 2 + len(word) // 4)
        compared = list(itertools.islice(alike, self._left))
        self._left -= len(compared) + len(known) // _LOOKED_OVER
        near = difflib.get_close_matches(word, compared, n=3, cutoff=0.7)
        return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
