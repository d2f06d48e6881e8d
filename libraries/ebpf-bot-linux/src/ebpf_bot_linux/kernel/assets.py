"""Assets: the sets of programs that the modes need, by the names that every backend gives them."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["COUNTING", "STREAMING", "Asset"]


@attrs.frozen
class Asset:
    """The programs of one mode. What each does is told in the README.

    Attributes:
        name: what loaders know it by.
        counts_others: whether hits out of scope are counted as well.
        on_entry: the programs that serve a function's entry: (name, whether it runs on return), in the order in which
            they are attached; likewise `on_return` and `on_usdt`.
    """

    name: str
    counts_others: bool
    on_entry: tuple[tuple[str, bool], ...]
    on_return: tuple[tuple[str, bool], ...]
    on_usdt: tuple[tuple[str, bool], ...]


COUNTING: Final = Asset(
    "coverage", True, (("uprobe_hit", False),), (("uprobe_hit", True),), (("uprobe_hit", False),)
)
STREAMING: Final = Asset(
    "stream",
    False,
    (("uprobe_hit", False),),
    # The entry is there first, so that no return is seen whose time is not known.
    (("uprobe_enter", False), ("uprobe_return", True)),
    (("uprobe_usdt", False),),
)
