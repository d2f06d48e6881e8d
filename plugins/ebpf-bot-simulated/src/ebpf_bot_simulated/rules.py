"""Rules: a table of probe names and wildcards, looked up by name."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

__all__ = ["Rules"]

V = TypeVar("V")

_WILDCARD: Final = re.compile(r"[*?\[]")


class Rules(Generic[V]):
    """Finds the value that a table holds for a probe.

    An exact name beats a wildcard; among wildcards the one written first wins; an earlier table beats a later one.

    Args:
        tables: from a probe name, or a wildcard that must match the whole name (`uprobe:*:lock_*`), to a value.
    """

    def __init__(self, *tables: Mapping[str, V]) -> None:
        self._tables = [
            (
                table,
                [
                    (re.compile(fnmatch.translate(text)).match, value)
                    for text, value in table.items()
                    if _WILDCARD.search(text)
                ],
            )
            for table in tables
            if table
        ]

    def get(self, name: str) -> V | None:
        """Return the value for a probe's canonical name, or None where no rule speaks of it."""
        for exact, wildcards in self._tables:
            if name in exact:
                return exact[name]
            for match, value in wildcards:
                if match(name):
                    return value
        return None

    def rows(self, names: Iterable[str]) -> dict[int, V]:
        """Return the values for many names, by their position; those that no rule speaks of are left out."""
        if not self._tables:
            return {}
        found = ((row, self.get(name)) for row, name in enumerate(names))
        return {row: value for row, value in found if value is not None}
