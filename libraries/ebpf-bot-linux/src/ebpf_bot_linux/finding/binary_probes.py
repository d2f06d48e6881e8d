"""Patterns for what is in binaries: the files that they name, and in each the names that they match."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind, ProbePattern, Reason, Verdict
from ebpf_bot_linux.finding.answers import Answer, Answers
from ebpf_bot_linux.finding.binaries import Binaries, Examined
from ebpf_bot_linux.finding.insight import Insight, Named
from ebpf_bot_linux.finding.placed import Placed, in_order
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.spelling import NamesWithin, taken_apart
from ebpf_bot_linux.finding.standings import stated
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.finding.targets import Targets, before_wildcard, has_wildcard
from ebpf_bot_linux.points import Point

__all__ = ["BinaryProbes"]

T = TypeVar("T", bound=Named)

_LAST: Final = "\U0010ffff"
"""Not printable, so no name holds it, and those that begin alike are all before what they begin with and this."""


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

    def find(self, patterns: Sequence[ProbePattern]) -> Answers:
        """Return what patterns of one kind and one target name; see `KindFinder.find`."""
        target = patterns[0].target
        try:
            paths = self._targets.paths(target)
        except UnprobeableError as error:
            return Answers.of(error.answers(patterns))
        several = has_wildcard(target) and paths != [target]
        found = Answers.together([self._in_file(patterns, path, several=several) for path in paths])
        if paths:
            reason = Reason.NOT_FOUND
            detail = (
                f"none of the {len(paths)} files that match {target} is a binary with such a {self._what}"
            )
        else:
            reason, detail = Reason.BINARY_MISSING, f"no file matches {target}"
        nothing = found.unanswered(len(patterns))
        rows = ((number, str(patterns[number]), Verdict.MISSING, reason, detail) for number in nothing)
        return Answers.together([found, Answers.of(rows)]) if nothing else found

    def points(self, names: Sequence[str]) -> list[Placed]:
        """Return where probes are placed, examining their binaries if no pattern has yet; see `Finder.points`."""
        where: dict[tuple[str, str], array[int]] = {}
        for number, name in enumerate(names):
            where.setdefault(taken_apart(name)[:2], array("q")).append(number)
        return in_order(
            len(names),
            ((numbers, self._points_in(*key, NamesWithin(names, numbers))) for key, numbers in where.items()),
        )

    def _points_in(self, kind: str, path: str, names: Sequence[str]) -> Sequence[Placed]:
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
            point or UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, self._nowhere(path, names[number]))
            for number, point in enumerate(points)
        ]

    def _nowhere(self, path: str, name: str) -> str:
        return f"{path} has no {self._what} {name} that can be probed"

    def _examine(self, path: str) -> Examined[T]:
        examined = self._binaries.examine(path)
        self._by_path[examined.binary.path] = examined
        return examined

    def _in_file(self, patterns: Sequence[ProbePattern], path: str, *, several: bool) -> Answers:
        """Return the answers of one file.

        Args:
            several: the target is a wildcard. It names what it can, so files that are no binaries, and binaries
                without such a name, give no answers; a binary that cannot be examined gives them under its own path.
        """
        if several:
            patterns = [attrs.evolve(pattern, target=path) for pattern in patterns]
        try:
            examined = self._examine(path)
        except UnprobeableError as error:
            unfit = several and error.reason in (Reason.NOT_ELF, Reason.BINARY_MISSING)
            return Answers.of([] if unfit else error.answers(patterns))
        content, rows = examined.content, self._literal(patterns, examined.content)
        asked, found = [np.flatnonzero(rows >= 0)], [rows[rows >= 0]]
        lines: list[Answer] = []
        for number in np.flatnonzero(rows < 0).tolist():
            matching = _matching(patterns[number], content)
            asked.append(np.full(len(matching), number))
            found.append(matching)
            lines += self._line(number, patterns[number], examined, nothing=not several and not len(matching))
        at, inverse = np.unique(np.concatenate(found), return_inverse=True)
        exact = np.zeros(len(at), np.bool_)
        exact[inverse[: len(found[0])]] = True
        prefix = f"{patterns[0].kind}:{examined.binary.path}:"
        remarks = self._insight.remarks(content, patterns[0].kind, at, exact)
        names = [prefix + content.names[i] for i in at.tolist()]
        known = stated(names, content.standings(patterns[0].kind)[at], remarks)
        return Answers.together([known.answering(np.concatenate(asked), inverse), Answers.of(lines)])

    def _literal(self, patterns: Sequence[ProbePattern], content: T) -> NDArray[np.intp]:
        """Return the position of the one name that each pattern means, -1 for one that means others, or none.

        A name that exists is meant literally: Go has functions called `main.(*Server).Close`.
        """
        names = [pattern.name for pattern in patterns]
        rows = content.rows(names)
        rows[[number for number, name in enumerate(names) if name == self._everything]] = -1
        return rows

    def _line(
        self, number: int, pattern: ProbePattern, examined: Examined[T], *, nothing: bool
    ) -> Iterator[Answer]:
        """Yield an answer to a pattern that no name is literally, where it needs more than what it matches.

        Args:
            nothing: whether that it names nothing must be said.
        """
        content, path = examined.content, examined.binary.path
        if not has_wildcard(pattern.name):
            absent = self._insight.absent(content, pattern.name)
            if absent is not None:
                yield number, f"{pattern.kind}:{path}:{pattern.name}", *absent
                return
        everything = pattern.name == self._everything
        if content.unseen and (everything or not content.count):
            detail = f"{path} has {content.unseen}"
            yield number, str(pattern), Verdict.REFUSED, Reason.NO_SYMBOLS, detail
        elif content.unnameable and everything:
            detail = f"{content.unnameable} {self._what}s of {path} have names that no probe name can spell"
            yield number, str(pattern), Verdict.EXCLUDED, Reason.NOT_FOUND, detail
        elif nothing:
            yield number, str(pattern), *self._not_found(pattern, examined)

    def _not_found(self, pattern: ProbePattern, examined: Examined[T]) -> tuple[Verdict, Reason, str]:
        content, path = examined.content, examined.binary.path
        wild = has_wildcard(pattern.name)
        near = "" if wild else self._suggestions.near(pattern.name, content.names)
        if content.unseen:
            return Verdict.REFUSED, Reason.NO_SYMBOLS, f"{path} has {content.unseen}{near}"
        if not content.count:
            detail = f"{path} has no {self._what}s"
        elif wild:
            detail = f"none of the {content.count} {self._what}s of {path} matches {pattern.name}"
        else:
            detail = f"{path} has no {self._what} {pattern.name}{near or self._insight.otherwise}"
        return Verdict.MISSING, Reason.NOT_FOUND, detail


def _matching(pattern: ProbePattern, content: Named) -> NDArray[np.intp]:
    """Return the positions of the names that a wildcard matches; only those that begin as it does are compared."""
    beginning = before_wildcard(pattern.name)
    if beginning == pattern.name:
        return np.zeros(0, np.intp)
    start, end = bisect_left(content.names, beginning), bisect_left(content.names, beginning + _LAST)
    return np.array(pattern.match_names(content.names[start:end]), np.intp) + start
