"""Run a tool so that it leaves nothing behind: no process, no mount, no probe, however it or the benchmark ends.

Each runs in pid and mount namespaces of its own, all tools alike. When the first process of a pid namespace ends, the
kernel ends the others; it gets SIGKILL itself when the benchmark dies. The mounts vanish with the mount namespace.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""What a command line begins with whose process gets SIGKILL when this one dies."""

_ISOLATED = (*DIES_WITH_US, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_TRACING = "mount -t tracefs none /sys/kernel/tracing; mount -t debugfs none /sys/kernel/debug"
# What a shell runs first for a peer: they open a descriptor a probe, and need tracefs.
_PRELUDE = f"ulimit -n $(ulimit -Hn); {_TRACING}; "
_ROOT = Path(__file__).parents[2]


class ToolError(Exception):
    """A tool did not do its work; the text says what it printed last."""


@attrs.frozen
class Ended:
    """A tool that has ended.

    Attributes:
        began: CLOCK_MONOTONIC in seconds, before its process was started; `ended` after it was reaped.
        output: stdout and stderr together.
    """

    began: float
    ended: float
    output: str


def with_tracefs(script: str) -> list[str]:
    """Return an argv that runs a bash script where tracefs is mounted, seen by no one else."""
    return ["bash", "-c", _PRELUDE + script]


def run(argv: Sequence[str], folder: Path, *, seconds: float) -> Ended:
    """Run a tool to its end.

    Raises:
        ToolError: it failed, or took longer than `seconds` and was killed with all that it started.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        [*_ISOLATED, *argv],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "ENABLE_OTLP": "false", "PYTHONPATH": str(_ROOT)},
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ToolError(f"took longer than {seconds:.0f} s") from None
    finally:
        process.kill()
        process.wait()
    ended = time.monotonic()
    if process.returncode:
        raise ToolError(f"exit status {process.returncode}: {output.strip()[-300:]}")
    return Ended(began, ended, output)


@contextmanager
def no_uprobe_events_left() -> Iterator[str]:
    """Yield the name of a group for uprobe events in tracefs, which outlive the process that defines them.

    A process apart waits for this one to end the context, or to die, and then removes the group.
    """
    group = f"ebpf_bot_bench_{os.getpid()}"
    left = f"[ -d /sys/kernel/tracing/events/{group} ]"
    # It is refused for as long as a dying tool holds an event.
    remove = f"for i in $(seq 300); do {left} || break; echo '-:{group}/' > /sys/kernel/tracing/dynamic_events; sleep 0.1; done"
    with subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", f"{_TRACING}; cat >/dev/null; {remove}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        yield group
