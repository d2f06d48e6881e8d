"""The nearest valid word to a mistyped one, for the hint in an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """Return `did you mean 'X'?` for the nearest valid word, or an empty string where none is near."""
    near = difflib.get_close_matches(word[:200], list(valid), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""
