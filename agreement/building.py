"""Building a program that counts its own function calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import attrs

from agreement.programs import Program

__all__ = ["VARIANTS", "Build", "Variant", "build", "configure"]


@attrs.frozen
class Variant:
    """A way to compile.

    Attributes:
        flags: of the compiler.
    """

    name: str
    flags: str


_COUNTING: Final = "-O2 -g1 --coverage"
VARIANTS: Final = (Variant("whole", f"{_COUNTING} -fno-inline"), Variant("inlined", _COUNTING))
"""With every function called, and inlined as the compiler likes."""


@attrs.frozen
class Build:
    """A built program.

    Attributes:
        source: the directory that it was built in; what its processes count is written there.
    """

    program: Program
    version: str
    variant: Variant
    source: Path

    @property
    def binary(self) -> Path:
        """The built program."""
        return self.source / self.program.binary


def configure(program: Program, source: Path) -> None:
    """Prepare the unpacked source of a program for being copied and built."""
    if program.configure:
        # Without -g and -O a configure script is done sooner, and what it finds is the same.
        _run(program.configure, source, {"CFLAGS": "-w"})


def build(program: Program, version: str, variant: Variant, source: Path, into: Path) -> Build:
    """Build a program in a copy of its configured source."""
    shutil.copytree(source, into, symlinks=True)
    _run(program.build, into, {"CFLAGS": f"{variant.flags} -w"})
    return Build(program, version, variant, into)


def _run(command: str, folder: Path, environment: dict[str, str]) -> None:
    log = folder / "agreement.log"
    with log.open("a") as output:
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=900,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"`{command}` failed with status {done.returncode}; see {log}")
