"""Which programs are compared: how each is built, and what it is made to do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

__all__ = ["Program", "read_programs"]

LIST = Path(__file__).with_name("programs.toml")


@attrs.frozen
class Program:
    """One program of a Debian source package.

    Attributes:
        package: the source package.
        configure: shell command, run once in the unpacked source; empty where nothing is to be configured.
        build: shell command, run in a copy of it; takes `$CFLAGS` from the environment.
        binary: what that builds, relative to the copy.
        workload: shell script, run in an empty directory; `$PROGRAM` is the binary, `$SOURCE` the copy. Only the
            program's own processes count in gcov, so it is run, and nothing else of the package.
        miscounted: function -> why gcov's count of its calls is not how often it was entered. Whether it ran is
            compared nevertheless.
    """

    name: str
    package: str
    build: str
    binary: str
    workload: str
    configure: str = ""
    miscounted: Mapping[str, str] = attrs.field(factory=dict)


def read_programs(names: list[str]) -> list[Program]:
    """Return the programs of those names, in their order in the list; all of them if no name is given.

    Raises:
        SystemExit: there is no program of that name.
    """
    programs = [Program(name, **fields) for name, fields in tomllib.loads(LIST.read_text()).items()]
    unknown = set(names) - {program.name for program in programs}
    if unknown:
        known = ", ".join(program.name for program in programs)
        raise SystemExit(f"no such program: {', '.join(sorted(unknown))}; there are {known}")
    return [program for program in programs if not names or program.name in names]
