"""What ebpf-bot is to reach, and what it reached: judged by the results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from benchmarks.comparison.peers.floor import Floor
from benchmarks.comparison.results import BOT, TIMES, Results
from benchmarks.comparison.workloads.functions import BARE, BY_BCC
from benchmarks.comparison.workloads.syscalls import HOST

__all__ = ["TARGETS", "Target"]


@attrs.frozen
class Target:
    """A limit.

    Attributes:
        reached: the figure to hold against it, out of the results; None where it was not measured.
        at_least: whether the limit is a floor; else it is a ceiling.
    """

    title: str
    limit: float
    unit: str
    reached: Callable[[Results], float | None]
    at_least: bool = False

    def judge(self, results: Results) -> tuple[float | None, str]:
        """Return the figure and the word for it: met, missed, not measured."""
        figure = self.reached(results)
        if figure is None:
            return None, "not measured"
        met = figure >= self.limit if self.at_least else figure <= self.limit
        return figure, "met" if met else "**missed**"


def _median(key: str, tool: str = BOT) -> Callable[[Results], float | None]:
    return lambda results: results.median(key, tool)


def _ratio(key: str, base: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(key, BOT, base)


def _targets() -> Iterator[Target]:
    yield Target("attach + detach 2,000 functions, in a running process", 0.3, "s", _median("library-2000"))
    yield Target("attach + detach 10,000 functions, in a running process", 0.6, "s", _median("library-10000"))
    yield Target("tool start to workload start, 2,000 functions", 0.6, "s", _median("start-2000"))
    yield Target("the same by the backend bcc", 3, "s", _median("start-2000", BY_BCC))
    yield Target(
        "workload end to tool exit, 2,000 functions, backend bcc", 0.5, "s", _median("end-2000", BY_BCC)
    )
    yield Target(
        "a hit at an emulated site, against an empty program", 1.15, TIMES, _ratio("hit", Floor.name)
    )
    yield Target("a call 1 s after the first, against bare", 1.5, TIMES, _ratio("hot", BARE))
    yield Target("all functions of libpython, wall time of the script", 0.9, "s", _median("python"))
    yield Target("of those, found in one round and not in another", 0, "functions", _median("python-missed"))
    yield Target("all system calls, added to one, a command", 120, "ns", _median("syscalls"))
    yield Target("all system calls, added to one, the whole host", 120, "ns", _median("syscalls", HOST))
    yield Target("1,000,000 probes, a decision", 1, "s", _median("million-decision"))
    yield Target("1,000,000 probes, peak memory", 1024, "MiB", _median("million-peak"))
    yield Target(
        "1,000,000 names in a plan, peak memory of reading it", 1024, "MiB", _median("million-read-peak")
    )


TARGETS = tuple(_targets())
