"""What the program counted itself: gcov's data, written by each of its processes when it ends.

A process that a signal ends, or `_exit`, writes nothing; one that forks or executes another program does, since
`--coverage` puts functions of gcov's in the place of fork(2) and execve(2).
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

__all__ = ["counted", "forget"]


def forget(folder: Path) -> None:
    """Remove what was counted below a folder before."""
    for data in folder.rglob("*.gcda"):
        data.unlink()


def counted(folder: Path) -> dict[str, int]:
    """Return the functions that were compiled below a folder, and how often each was executed.

    Functions of one name, static ones in several files, are one: symbols tell no more.
    The format is that of `gcov --json-format` in gcov(1).
    """
    counts: Counter[str] = Counter()
    for notes in sorted(folder.rglob("*.gcno")):
        done = subprocess.run(
            ["gcov", "--json-format", "--stdout", notes.name],
            cwd=notes.parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        for line in filter(None, done.stdout.splitlines()):
            for file in json.loads(line)["files"]:
                for function in file["functions"]:
                    counts[function["name"]] += function["execution_count"]
    return dict(counts)
