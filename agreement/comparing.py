"""Comparing what gcov counted with what ebpf-bot saw."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from agreement.covering import Coverage
from agreement.functions import Functions

__all__ = ["Comparison", "Disagreement", "compare"]

INLINED = "only inlined copies of it ran; nothing called it"


@attrs.frozen
class Disagreement:
    """One function of which the two say different things.

    Attributes:
        executed: gcov's count; `entered`: ebpf-bot's hits.
        cause: why; empty where it is not known.
    """

    function: str
    executed: int
    entered: int
    cause: str


@attrs.frozen
class Comparison:
    """Two sets of functions, and how often each ran.

    Attributes:
        functions: how many functions there are in the binary.
        executed: how many of these gcov has seen executed; `fired`: how many ebpf-bot has.
        sets: the functions that are in one set only.
        counts: those that are in both, with different counts.
        lost: hits that the kernel left out, and said so.
        called: how many functions valgrind has seen called, inlined copies left out; None where it has not looked.
        witness: the functions that either ebpf-bot or valgrind has seen called, and not the other.
    """

    functions: int
    executed: int
    fired: int
    sets: tuple[Disagreement, ...]
    counts: tuple[Disagreement, ...]
    lost: int
    called: int | None
    witness: tuple[str, ...]

    @property
    def agreement(self) -> float:
        """The share of functions of which both say the same, whether they ran."""
        return 1 - len(self.sets) / self.functions

    @property
    def overlap(self) -> float:
        """The share of those that ran, as either has it, of which both say so: the stricter measure."""
        return _overlap(self.executed, self.fired, len(self.sets))

    @property
    def witnessed(self) -> float:
        """The same measure of what valgrind has seen called, and ebpf-bot."""
        return _overlap(self.called or 0, self.fired, len(self.witness))

    @property
    def exact(self) -> float:
        """The share of those that ran, as both have it, whose counts are equal."""
        common = (self.executed + self.fired - len(self.sets)) // 2
        return 1 - len(self.counts) / common

    @property
    def unexplained(self) -> tuple[Disagreement, ...]:
        """The disagreements without a known cause."""
        return tuple(found for found in (*self.sets, *self.counts) if not found.cause)


def _overlap(one: int, other: int, apart: int) -> float:
    common = (one + other - apart) // 2
    return common / (common + apart)


def compare(
    functions: Functions,
    counted: Mapping[str, int],
    coverage: Coverage,
    miscounted: Mapping[str, str],
    calls: Mapping[str, int] | None = None,
) -> Comparison:
    """Compare function by function.

    Args:
        counted: function -> gcov's count of its executions, inlined copies included.
        miscounted: function -> why gcov's count is known not to be how often it was entered.
        calls: symbol -> calls of its code, by valgrind. Where there are none of a function, it is known that only its
            inlined copies ran; else that is taken from the debug information.
    """
    executed = {name for name in functions.symbols if counted[name]}
    fired = {name for name in functions.symbols if functions.fired(name, coverage.hits)}
    called = None if calls is None else {name for name in functions.symbols if functions.fired(name, calls)}
    sets, counts = [], []
    for name in sorted(executed | fired):
        found = Disagreement(name, counted[name], functions.entered(name, coverage.hits), "")
        if (name in executed) != (name in fired):
            sets.append(attrs.evolve(found, cause=_why_unseen(found, functions, coverage, called or set())))
        elif found.executed != found.entered:
            counts.append(attrs.evolve(found, cause=miscounted.get(name) or _why_fewer(found, functions)))
    return Comparison(
        len(functions.symbols),
        len(executed),
        len(fired),
        tuple(sets),
        tuple(counts),
        coverage.lost,
        None if called is None else len(called),
        () if called is None else tuple(sorted(called ^ fired)),
    )


def _why_unseen(found: Disagreement, functions: Functions, coverage: Coverage, called: set[str]) -> str:
    if found.executed and found.function in functions.inlined - called:
        return INLINED
    said = {coverage.verdicts.get(symbol, "not listed") for symbol in functions.symbols[found.function]}
    blind = sorted(verdict for verdict in said if verdict.startswith(("blind", "refused")))
    return f"ebpf-bot says that it cannot see it: {', '.join(blind)}" if blind else ""


def _why_fewer(found: Disagreement, functions: Functions) -> str:
    if found.entered < found.executed and found.function in functions.inlined:
        return "inlined copies of it ran as well"
    return ""
