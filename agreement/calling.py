"""Another witness of what was called: valgrind, which runs the same binary on a processor of its own making.

gcov counts a function wherever it runs, in copies inlined into others as well. Callgrind, a tool of valgrind's, counts
calls of the code that stands for a symbol, by the instructions that it runs: it needs no probe, and no compiled counter.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["calls_of", "read_calls"]

_TRIES: Final = 5


def calls_of(
    binary: Path, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> Mapping[str, int]:
    """Run a command in a new folder, with the program that it knows as `$PROGRAM` in valgrind; return symbol -> calls.

    A process that executes another program is not counted: what it called before is lost. Where somebody else has
    probes on a library meanwhile, valgrind runs into their breakpoints, and the program ends: then it is done anew.

    Args:
        folder: it is made, and holds a folder for each time that it is tried.

    Raises:
        SystemExit: there is no valgrind here, it has counted nothing, or breakpoints were in its way each time.
    """
    if not shutil.which("valgrind"):
        raise SystemExit("the second witness needs valgrind, a package of that name; install it as root")
    for number in range(_TRIES):
        tried = folder / str(number)
        calls = _try(binary, command, tried, environment)
        if not _trapped(tried).exists():
            return calls
    raise SystemExit(f"breakpoints of another tracer's end {binary} in valgrind; see {folder}")


def _try(
    binary: Path, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> Mapping[str, int]:
    room, notes = folder / "room", folder / "notes"
    room.mkdir(parents=True)
    notes.mkdir()
    program = folder / "program"
    tool = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no", f"--callgrind-out-file={notes}/%p"]
    program.write_text(
        f'#!/bin/sh\n{shlex.join([*tool, str(binary)])} "$@"\nstatus=$?\n'
        f"[ $status -ne {128 + signal.SIGTRAP} ] || : > {shlex.quote(str(_trapped(folder)))}\nexit $status\n"
    )
    program.chmod(0o755)
    subprocess.run(
        command,
        cwd=room,
        env={**os.environ, **environment, "PROGRAM": str(program), "GCOV_PREFIX": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=540,
        check=True,
    )
    calls: Counter[str] = Counter()
    for note in notes.iterdir():
        with note.open(errors="replace") as lines:
            calls.update(read_calls(lines, binary))
    if not calls:
        raise SystemExit(f"valgrind has counted no call within {binary}; see {folder}")
    return calls


def _trapped(folder: Path) -> Path:
    """Return the file that is there where a process ended at a breakpoint."""
    return folder / "trapped"


def read_calls(lines: Iterable[str], binary: Path) -> Counter[str]:
    """Return symbol -> calls, of the symbols of one binary.

    The format is that of callgrind's profile data, in valgrind's manual. `ob=` stays until the next one; `cob=` is
    of one call, and where it is left out, the call stays within the same binary.
    """
    calls: Counter[str] = Counter()
    caller = callee = symbol = ""
    for line in lines:
        key, _, value = line.rstrip("\n").partition("=")
        match key:
            case "ob":
                caller = value
            case "cob":
                callee = value
            case "cfn":
                symbol = value
            case "calls":
                if (callee or caller) == str(binary):
                    calls[symbol] += int(value.split()[0])
                callee = ""
    return calls
