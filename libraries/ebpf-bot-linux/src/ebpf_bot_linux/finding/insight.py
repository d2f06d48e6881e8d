"""What a finder needs of what a binary has by name, and of what more is known of the names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind, Reason, Verdict
from ebpf_bot_linux.finding.standings import Remarks

__all__ = ["Insight", "Named", "NoInsight"]


class Named(Protocol):
    """What a binary has of one kind, by name."""

    @property
    def names(self) -> Sequence[str]:
        """Each name once, ascending."""
        ...

    def standings(self, kind: ProbeKind, /) -> NDArray[np.uint8]:
        """Return the `Standing` of each name for probes of one kind."""
        ...

    @property
    def count(self) -> int:
        """How many names stand for code that is defined here."""
        ...

    @property
    def unnameable(self) -> int:
        """How many have a name that no probe name can spell."""
        ...

    @property
    def unseen(self) -> str:
        """What the file lacks that would give the names; empty where it lacks nothing."""
        ...

    def rows(self, names: Sequence[str], /) -> NDArray[np.intp]:
        """Return the position of each of some names, -1 for what is none of them."""
        ...


T_contra = TypeVar("T_contra", contravariant=True)


class Insight(Protocol[T_contra]):
    """Knows more of names than what they stand for.

    Attributes:
        otherwise: what else may have become of a name that is not there, to end a sentence with.
    """

    otherwise: str

    def remarks(
        self, content: T_contra, kind: ProbeKind, rows: NDArray[np.intp], exact: NDArray[np.bool_], /
    ) -> Remarks:
        """Return what is to be said of some rows, each given once, by their numbers among `rows`.

        Args:
            kind: of the probes.
            exact: shape (len(rows),), which were asked for by their very names, so that a longer look is worth it.
        """
        ...

    def absent(self, content: T_contra, name: str, /) -> tuple[Verdict, Reason, str] | None:
        """Return what to say of a name that the binary does not have; None where there is nothing to be said."""
        ...


class NoInsight:
    """Knows nothing more; an `Insight` into anything."""

    otherwise = ""

    def remarks(
        self, _content: object, _kind: ProbeKind, _rows: NDArray[np.intp], _exact: NDArray[np.bool_]
    ) -> Remarks:
        """Return nothing."""
        return Remarks()

    def absent(self, _content: object, _name: str) -> None:
        """Return nothing."""
