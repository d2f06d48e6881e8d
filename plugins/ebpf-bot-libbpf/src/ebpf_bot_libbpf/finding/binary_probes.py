"""Patterns for what is in binaries: the files that they name, and in each the names that they match."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Evidence, ProbeKind, ProbePattern, Reason, Verdict
from ebpf_bot_libbpf.finding.binaries import Binaries, Examined
from ebpf_bot_libbpf.finding.refusals import UnprobeableError, row, union
from ebpf_bot_libbpf.finding.spelling import taken_apart
from ebpf_bot_libbpf.finding.standings import Remarks, stated
from ebpf_bot_libbpf.finding.suggestions import Suggestions
from ebpf_bot_libbpf.finding.targets import Targets, has_wildcard
from ebpf_bot_libbpf.points import Point

__all__ = ["BinaryProbes", "Insight", "Named", "NoInsight"]


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

    def __contains__(self, name: object) -> bool:
        """Whether it is one of the names."""
        ...

    def row(self, name: str) -> int:
        """Return the position of a name; KeyError if there is none."""
        ...


T = TypeVar("T", bound=Named)
T_contra = TypeVar("T_contra", contravariant=True)


class Insight(Protocol[T_contra]):
    """Knows more of names than what they stand for.

    Attributes:
        otherwise: what else may have become of a name that is not there, to end a sentence with.
    """

    otherwise: str

    def remarks(self, content: T_contra, rows: NDArray[np.intp], /, *, exact: bool) -> Remarks:
        """Return what is to be said of some rows, by their numbers among `rows`.

        Args:
            exact: the one row was asked for by its very name, so a longer look is worth it.
        """
        ...

    def absent(self, content: T_contra, name: str, /) -> tuple[Verdict, Reason, str] | None:
        """Return what to say of a name that the binary does not have; None where there is nothing to be said."""
        ...


class NoInsight:
    """Knows nothing more; an `Insight` into anything."""

    otherwise = ""

    def remarks(self, _content: object, _rows: NDArray[np.intp], *, exact: bool) -> Remarks:
        """Return nothing."""
        del exact
        return Remarks()

    def absent(self, _content: object, _name: str) -> None:
        """Return nothing."""


class BinaryProbes(Generic[T]):
    """Finds what patterns name in the binaries of this host; a `KindFinder`.

    Args:
        place: gives for probes of one kind the points of some names in a binary, None for each that has none that
            can be probed.
        insight: what more is known of the names.
        what: what is sought, in the singular.
        everything: the name part of the pattern that means all of it.
    """

    def __init__(
        self,
        binaries: Binaries[T],
        place: Callable[[ProbeKind, Examined[T], Sequence[str]], Sequence[Point | None]],
        targets: Targets,
        suggestions: Suggestions,
        *,
        what: str,
        everything: str,
        insight: Insight[T],
    ) -> None:
        self._binaries = binaries
        self._place = place
        self._targets = targets
        self._suggestions = suggestions
        self._what = what
        self._everything = everything
        self._insight = insight
        self._by_path: dict[str, Examined[T]] = {}

    def find(self, pattern: ProbePattern) -> Evidence:
        """Return the rows of one pattern; see `Finder.find`."""
        try:
            paths = self._targets.paths(pattern.target)
        except UnprobeableError as error:
            return error.row(str(pattern))
        several = has_wildcard(pattern.target) and paths != [pattern.target]
        parts = [self._in_file(pattern, path, several=several) for path in paths]
        found = [part for part in parts if len(part)]
        if found:
            return union(found)
        if not paths:
            detail = f"no file matches {pattern.target}"
            return row(str(pattern), Verdict.MISSING, Reason.BINARY_MISSING, detail)
        detail = (
            f"none of the {len(paths)} files that match {pattern.target} is a binary with such a {self._what}"
        )
        return row(str(pattern), Verdict.MISSING, Reason.NOT_FOUND, detail)

    def points(self, names: Sequence[str]) -> list[Point | UnprobeableError]:
        """Return where probes are placed, examining their binaries if no pattern has yet; see `Finder.points`."""
        where: dict[tuple[str, str], list[str]] = {}
        for name in names:
            kind, path, within = taken_apart(name)
            where.setdefault((kind, path), []).append(within)
        found = {key: iter(self._points_in(*key, wanted)) for key, wanted in where.items()}
        return [next(found[taken_apart(name)[:2]]) for name in names]

    def _points_in(self, kind: str, path: str, names: Sequence[str]) -> Sequence[Point | UnprobeableError]:
        """Return the points of some probes of one kind in one binary."""
        if not path.startswith("/"):
            detail = f"{kind}:{path}:{names[0]} is not the name of a probe"
            return [UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, detail)] * len(names)
        try:
            examined = self._by_path.get(path) or self._examine(path)
        except UnprobeableError as error:
            return [error] * len(names)
        points = self._place(ProbeKind(kind), examined, names)
        return [
            point or UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, self._nowhere(path, name))
            for point, name in zip(points, names, strict=True)
        ]

    def _nowhere(self, path: str, name: str) -> str:
        return f"{path} has no {self._what} {name} that can be probed"

    def _examine(self, path: str) -> Examined[T]:
        examined = self._binaries.examine(path)
        self._by_path[examined.binary.path] = examined
        return examined

    def _in_file(self, pattern: ProbePattern, path: str, *, several: bool) -> Evidence:
        """Return the rows of one file.

        Args:
            several: the target is a wildcard. It names what it can, so files that are no binaries, and binaries
                without such a name, have no rows; a binary that cannot be examined has one under its own path.
        """
        text = f"{pattern.kind}:{path}:{pattern.name}" if several else str(pattern)
        try:
            examined = self._examine(path)
        except UnprobeableError as error:
            if several and error.reason in (Reason.NOT_ELF, Reason.BINARY_MISSING):
                return union([])
            return error.row(text)
        content, prefix = examined.content, f"{pattern.kind}:{examined.binary.path}:"
        exact = not self._is_wild(pattern, content)
        found = self._matching(pattern, content)
        if exact and not len(found):
            absent = self._insight.absent(content, pattern.name)
            if absent is not None:
                return row(prefix + pattern.name, *absent)
        remarks = self._insight.remarks(content, found, exact=exact)
        names = [prefix + content.names[i] for i in found.tolist()]
        standing = content.standings(pattern.kind)[found]
        parts = [stated(names, standing, remarks), *self._gaps(pattern, text, examined)]
        if not several and not any(map(len, parts)):
            parts.append(self._not_found(pattern, text, examined))
        return union(parts)

    def _matching(self, pattern: ProbePattern, content: T) -> NDArray[np.intp]:
        """Return the positions of the names that a pattern means.

        A name that exists is meant literally: Go has functions called `main.(*Server).Close`.
        """
        if not self._is_wild(pattern, content):
            return np.array([content.row(pattern.name)] if pattern.name in content else [], np.intp)
        return np.array(pattern.match_names(content.names), np.intp)

    def _is_wild(self, pattern: ProbePattern, content: T) -> bool:
        """Whether a pattern means the names that it matches, and not one."""
        return has_wildcard(pattern.name) and (
            pattern.name == self._everything or pattern.name not in content
        )

    def _gaps(self, pattern: ProbePattern, text: str, examined: Examined[T]) -> Iterator[Evidence]:
        """Yield rows under the pattern's text where it may mean what cannot be told."""
        content, path = examined.content, examined.binary.path
        everything = pattern.name == self._everything
        if content.unseen and (everything or (not content.count and pattern.name not in content)):
            yield row(text, Verdict.REFUSED, Reason.NO_SYMBOLS, f"{path} has {content.unseen}")
        elif content.unnameable and everything:
            detail = f"{content.unnameable} {self._what}s of {path} have names that no probe name can spell"
            yield row(text, Verdict.EXCLUDED, Reason.NOT_FOUND, detail)

    def _not_found(self, pattern: ProbePattern, text: str, examined: Examined[T]) -> Evidence:
        content, path = examined.content, examined.binary.path
        wild = has_wildcard(pattern.name)
        near = "" if wild else self._suggestions.near(pattern.name, content.names)
        if content.unseen:
            detail = f"{path} has {content.unseen}{near}"
            return row(text, Verdict.REFUSED, Reason.NO_SYMBOLS, detail)
        if not content.count:
            detail = f"{path} has no {self._what}s"
        elif wild:
            detail = f"none of the {content.count} {self._what}s of {path} matches {pattern.name}"
        else:
            detail = f"{path} has no {self._what} {pattern.name}{near or self._insight.otherwise}"
        return row(text, Verdict.MISSING, Reason.NOT_FOUND, detail)
