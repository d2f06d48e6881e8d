"""One run of the benchmark: who takes part, where files go, and how variants take turns."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.comparison.functions import Program
from benchmarks.comparison.isolation import Ended, ToolError, run
from benchmarks.comparison.peers.tool import CountsFunctions, Tool
from benchmarks.comparison.results import Results

__all__ = ["Bench"]


@attrs.frozen
class Bench:
    """What every workload needs.

    Attributes:
        folder: for files; removed at the end.
        peers: those that are installed.
        rounds: how often the variants take turns.
        peer_functions: the largest number of functions that tools get which detach one probe at a time.
        seconds: after which a tool is killed.
    """

    results: Results
    folder: Path
    peers: Sequence[Tool]
    rounds: int
    peer_functions: int
    seconds: float
    _began: float = attrs.field(factory=time.monotonic)
    _programs: dict[int, Program] = attrs.field(factory=dict)

    def say(self, what: str) -> None:
        """Show progress."""
        sys.stderr.write(f"[{time.monotonic() - self._began:4.0f} s] {what}\n")

    def program(self, functions: int) -> Program:
        """Return the program of so many functions, compiled once."""
        if functions not in self._programs:
            self._programs[functions] = Program.build(self.folder, functions)
        return self._programs[functions]

    def run(self, argv: Sequence[str]) -> Ended:
        """Run a tool in the folder."""
        return run(argv, self.folder, seconds=self.seconds)

    def take_turns(
        self, title: str, variants: Mapping[str, Callable[[], None]], *, rounds: int | None = None
    ) -> Mapping[str, str]:
        """Run each variant once a round; return, by variant, why it failed. One that failed has no more turns."""
        failed: dict[str, str] = {}
        count = rounds or self.rounds
        for number in range(count):
            for name, measure in variants.items():
                if name in failed:
                    continue
                self.say(f"{title}: {name}, round {number + 1} of {count}")
                try:
                    measure()
                except (ToolError, OSError) as error:
                    failed[name] = str(error)
                    self.say(f"{title}: {name} failed: {error}")
        return failed

    def check_seen(self, tool: CountsFunctions, output: str, program: Program) -> None:
        """See to it that a tool's speed is not that of missing calls.

        Raises:
            ToolError: it did not see all functions that were called.
        """
        seen = tool.seen(output, self.folder)
        if seen not in (None, program.called):
            raise ToolError(f"saw {seen} of the {program.called} functions that were called")
