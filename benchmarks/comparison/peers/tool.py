"""What every tool under comparison can be asked for. A tool that cannot do a thing leaves its method out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from benchmarks.comparison.functions import Program

__all__ = ["CountsFunctions", "CountsSyscalls", "Tool"]


class Tool(Protocol):
    """A tool on this host; its attributes may be plain ones."""

    @property
    def name(self) -> str:
        """As the table shows it."""

    @property
    def package(self) -> str:
        """Debian's package that brings it."""

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""


@runtime_checkable
class CountsFunctions(Protocol):
    """A tool that counts the calls of many functions while a command runs."""

    def functions(self, program: Program, command: Sequence[str], folder: Path) -> list[str]:
        """Return an argv that counts the program's probed functions while the command runs; files go to `folder`."""

    def seen(self, output: str, folder: Path) -> int | None:
        """Return how many functions it says were called; None where it does not count."""


@runtime_checkable
class CountsSyscalls(Protocol):
    """A tool that counts all system calls while a command runs."""

    def syscalls(self, command: Sequence[str], folder: Path) -> list[str]:
        """Return an argv that counts them."""
