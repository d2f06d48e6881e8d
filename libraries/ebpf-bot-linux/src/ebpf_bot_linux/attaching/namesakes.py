"""Noticing other files at a binary's path: what covered processes in other mount namespaces and roots run in its place.

A probe is in one file, by its inode. In a container the path may lead to another build of the same program or library,
in which nothing is attached. `other_builds` then attaches there.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import attrs

from ebpf_bot_linux.attaching.scope import CommandScope
from ebpf_bot_linux.points import Binary
from ebpf_bot_linux.rooted import within_root

__all__ = ["Namesake", "Namesakes"]

_EVERY_SECONDS: Final = 1.0
_LOADING_SECONDS: Final = 0.5
"""For so long after a program was executed more of its libraries are likely to be mapped."""
_SHARE: Final = 20
"""Looking sooner takes at most one part of so many of a CPU."""
_CODE: Final = re.compile(
    r"^[0-9a-f]+-[0-9a-f]+ ..x. [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ (\d+) +(/.*)$", re.MULTILINE
)
"""A line of /proc/PID/maps of memory that can be executed, from a file: its inode and path; proc_pid_maps(5)."""

_View = tuple[int, int, int]
"""What tells whether two processes see the same files: mount namespace, and device and inode of the root."""
_Identity = tuple[int, int, int]
"""Inode, mtime in ns and size of a file. An overlay shows a file of its layers under a device of its own, and probes are
in both."""


@attrs.frozen
class _OtherRoot:
    """A process whose root or mount namespace is not ours.

    Attributes:
        view: which files it sees.
        root: /proc/PID/root.
        code: (path, inode) of the files whose code it has mapped; the path is within the root.
    """

    pid: int
    view: _View
    root: str
    code: frozenset[tuple[str, int]]


@attrs.frozen
class Namesake:
    """Another file than an expected binary, that a covered process runs at the same path.

    Attributes:
        binary: the number of the binary.
        pid: the process.
        path: of the file, below /proc/PID/root.
    """

    binary: int
    pid: int
    path: str


class Namesakes:
    """Notices where covered processes run another file than the one that is probed, at the same path.

    It looks at the processes that run at that moment, so one that ends before is not noticed. Only from the initial pid
    namespace, whose process ids the kernel covers by; elsewhere nothing is found.

    Args:
        scope: says which processes are covered; None where all are, so that nothing is found.
    """

    def __init__(self, binaries: Sequence[Binary], scope: CommandScope | None) -> None:
        self._binaries = binaries
        self._scope = scope
        self._pace = _Pace()
        self._known: set[tuple[int, _Identity]] = set()
        self._places: dict[int, tuple[tuple[int, str], ...]] = {}

    def found(self, *, at_once: bool = False) -> list[Namesake]:
        """Return the files that were not known yet, each once.

        Looks once a second, sooner after covered processes have executed programs, or `at_once`; finds nothing meanwhile.
        """
        if self._scope is None or not self._binaries:
            return []
        if not self._pace.is_due(self._scope.executions) and not at_once:
            return []
        new: list[Namesake] = []
        with self._pace.measured():
            for other in self._other_roots(self._scope):
                with suppress(OSError):  # it has ended meanwhile
                    new += self._run_by(other)
        return new

    def _run_by(self, other: _OtherRoot) -> Iterator[Namesake]:
        """Yield what is new of what a process runs."""
        # Most processes run what one before them ran.
        runs = hash((other.view, other.code))
        if runs not in self._places:
            places = tuple(self._in_place_of(other))
            os.stat(other.root)  # noqa: PTH116 - of a process that has ended, what was found tells nothing
            self._places[runs] = places
        for number, place in self._places[runs]:
            path = f"{other.root}{place}"
            identity = _identity(path)
            expected = self._binaries[number]
            is_expected = identity == (expected.inode, expected.mtime_ns, expected.size)
            if not is_expected and (number, identity) not in self._known:
                self._known.add((number, identity))
                yield Namesake(number, other.pid, path)

    def _in_place_of(self, other: _OtherRoot) -> Iterator[tuple[int, str]]:
        """Yield which binaries' paths lead to code that a process has mapped, and where they lead in its root."""
        for number, binary in enumerate(self._binaries):
            with suppress(OSError):
                place = within_root(f"{other.root}{binary.path}").removeprefix(other.root)
                # A process may have entered its root after it mapped the very binary.
                if any(place == path and inode != binary.inode for path, inode in other.code):
                    yield number, place

    @staticmethod
    def _other_roots(scope: CommandScope) -> Iterator[_OtherRoot]:
        """Yield the covered processes with a root or mount namespace of their own."""
        own = _view("self")
        for name in os.listdir("/proc"):  # noqa: PTH208
            # Processes end while they are looked at, and some may not be looked at.
            with suppress(OSError):
                if name.isdecimal() and (view := _view(name)) != own and scope.covers(int(name)):
                    root = f"/proc/{name}/root"
                    code = frozenset(_mapped(name, os.readlink(root)))  # noqa: PTH115
                    yield _OtherRoot(int(name), view, root, code)


class _Pace:
    """When to look: a look that found nothing is repeated soon only where a program has been executed since."""

    def __init__(self) -> None:
        self._executions = 0
        self._loaded_by = 0.0
        self._soonest = self._latest = 0.0

    def is_due(self, executions: int) -> bool:
        """Whether to look now; `executions` says how many there have been so far."""
        now = time.monotonic()
        if executions != self._executions:
            self._executions = executions
            self._loaded_by = now + _LOADING_SECONDS
        return now >= self._latest or self._soonest <= now < self._loaded_by

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Look within this context, whose length says how soon that may be done again."""
        begin = time.monotonic()
        yield
        now = time.monotonic()
        self._soonest = now + (_SHARE - 1) * (now - begin)
        self._latest = max(now + _EVERY_SECONDS, self._soonest)


def _view(process: str) -> _View:
    root = os.stat(f"/proc/{process}/root")  # noqa: PTH116
    return os.stat(f"/proc/{process}/ns/mnt").st_ino, root.st_dev, root.st_ino  # noqa: PTH116


def _mapped(process: str, root: str) -> Iterator[tuple[str, int]]:
    """Yield (path, inode) of the mapped code; paths of a root below ours are shown from ours."""
    with open(f"/proc/{process}/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123
        for inode, path in _CODE.findall(maps.read()):
            yield path.removeprefix(root.rstrip("/")), int(inode)


def _identity(path: str) -> _Identity:
    status = os.stat(path)  # noqa: PTH116
    return status.st_ino, status.st_mtime_ns, status.st_size
