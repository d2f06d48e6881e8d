"""Runs a function in a child process, to its end or to a sudden one, for tests of what survives."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import pytest

__all__ = ["files_at_most", "in_child", "in_children", "killed_child"]

T = TypeVar("T")

_PATIENCE: Final = 60.0
"""Seconds after which a child counts as stuck; many times what the slowest machine needs."""


def in_child(work: Callable[[], T]) -> T:
    """Return what `work` returns when it runs in a forked child; the result must be picklable.

    Raises:
        AssertionError: `work` raised, or the child was stuck or died; with the child's traceback where it has one.
    """
    return in_children([work])[0]


def in_children(works: Sequence[Callable[[], T]]) -> list[T]:
    """Return what each of `works` returns, each run in a forked child of its own, all at the same time.

    Raises:
        AssertionError: as for `in_child`; all children have ended.
    """
    children = [_start(work) for work in works]
    deadline = time.monotonic() + _PATIENCE
    received = []
    for child, reader in children:
        received.append(_read_to_end(reader, deadline))
        _end(child)
    return [_answer(data) for data in received]


def killed_child(work: Callable[[Callable[[int], None]], None], *, after: float) -> int:
    """Kill a forked child with SIGKILL in the middle of `work`, and return the last number it acknowledged.

    Args:
        work: called with a function that acknowledges a number; numbers rise.
        after: seconds from the first acknowledgement to the kill.

    Raises:
        AssertionError: the child acknowledged nothing, or ended on its own.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with _never_returning():
            os.close(reader)
            work(functools.partial(_acknowledge, writer))
    os.close(writer)
    try:
        if not select.select([reader], [], [], _PATIENCE)[0]:
            raise AssertionError("the child process was stuck before its first save returned")
        time.sleep(after)
    finally:
        status = _end(child)
    received = _read_to_end(reader, time.monotonic() + _PATIENCE)
    if not os.WIFSIGNALED(status) or not received:
        raise AssertionError("the child process ended on its own: its save failed")
    return int.from_bytes(received[-8:], "little")


@contextlib.contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: what a full disk does, without filling one.

    A write past it fails with EFBIG; Python ignores the signal that would come with it.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _start(work: Callable[[], object]) -> tuple[int, int]:
    """Fork a child that works and answers; return its pid and where to read the answer."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with _never_returning():
            try:
                answer = pickle.dumps(("returned", work()))
            except pytest.skip.Exception as skip:
                answer = pickle.dumps(("skipped", str(skip)))
            except BaseException:  # noqa: BLE001 - the parent raises it
                answer = pickle.dumps(("raised", traceback.format_exc()))
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(answer)
    os.close(writer)
    return child, reader


def _answer(received: bytes) -> Any:
    if not received:
        raise AssertionError("the child process was stuck, or died without an answer")
    outcome, value = pickle.loads(received)  # noqa: S301 - our own child wrote it
    if outcome == "skipped":
        pytest.skip(value)
    if outcome == "raised":
        raise AssertionError(f"in a child process:\n{value}")
    return value


@contextlib.contextmanager
def _never_returning() -> Iterator[None]:
    """End the child when its work is done: it must not go on as a second test runner."""
    try:
        yield
    except BaseException:  # noqa: BLE001 - nobody is there to catch it
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _read_to_end(reader: int, deadline: float) -> bytes:
    """Read until the pipe is closed or the deadline has passed; the reader is closed."""
    received = bytearray()
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(deadline - time.monotonic(), 0))[0]:
            piece = pipe.read(1 << 16)
            if not piece:
                break
            received += piece
    return bytes(received)


def _acknowledge(writer: int, number: int) -> None:
    # Pipe writes this short are never split, so the kill leaves whole numbers.
    os.write(writer, number.to_bytes(8, "little"))


def _end(child: int) -> int:
    """Kill the child if it is still there; return its wait status."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
