"""Asking a worker: a process of its own in which BCC runs, for one request, and what is known of one that does not answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ebpf_bot_core import BackendError

__all__ = ["Said", "ask"]

_WORKER: Final = Path(__file__).with_name("worker.py")
_SECONDS: Final = 300
"""A bound; a large source takes BCC some seconds, and in an emulator minutes."""


@attrs.frozen
class Said:
    """What a worker left that has not answered: its words, and how it ended."""

    text: str
    ended: str


def ask(
    request: Mapping[str, Any], environment: Mapping[str, str], folder: str
) -> tuple[dict[str, Any] | None, Said]:
    """Return the answer of a worker, None if it has none, and what it said; it is given a folder for its files."""
    with (
        tempfile.TemporaryFile(dir=folder) as result,
        tempfile.TemporaryFile(dir=folder) as words,
    ):
        with _start(result.fileno(), words.fileno(), environment) as worker:
            late = False
            try:
                worker.communicate(json.dumps(request).encode(), timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                late = True
                worker.kill()
                worker.communicate()
            except BaseException:  # an interruption, after which Python itself would not wait
                worker.kill()
                worker.wait()
                raise
        words.seek(0)
        ended = f"had not ended after {_SECONDS} s" if late else _ending(worker.returncode)
        said = Said(words.read().decode("utf-8", "replace"), ended)
        result.seek(0)
        try:
            answer = json.loads(result.read()) if worker.returncode == 0 else None
        except ValueError:
            answer = None
        return answer, said


def _start(result: int, words: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a worker that answers to one descriptor, and says what it says to another."""
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, our own file
            [sys.executable, "-I", str(_WORKER), str(result)],
            stdin=subprocess.PIPE,
            stdout=words,
            stderr=words,
            env=environment,
            pass_fds=[result],
            process_group=0,  # so that ^C is ours to answer
        )
    except OSError as error:
        raise BackendError(
            f"backend 'bcc': BCC cannot be run in a process of its own: {error.strerror}: {sys.executable}",
            hint="the Python that runs ebpf-bot must be one that this user may execute",
        ) from error


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"ended with status {status} and no answer"
