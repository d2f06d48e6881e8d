"""Other files at a binary's path: what covered processes in other mount namespaces and roots run in its place.

A probe is in one file, by its inode. In a container the path may lead to another build of the same program or library,
in which nothing is attached.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import attrs

from ebpf_bot_libbpf.points import Binary
from ebpf_bot_libbpf.rooted import within_root

__all__ = ["Namesakes"]

_EVERY_SECONDS: Final = 1.0
_CODE: Final = re.compile(
    r"^[0-9a-f]+-[0-9a-f]+ ..x. [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ (\d+) +(/.*)$", re.MULTILINE
)
"""A line of /proc/PID/maps of memory that can be executed, from a file: its inode and path; proc_pid_maps(5)."""


@attrs.frozen
class _OtherRoot:
    """A process whose root or mount namespace is not ours.

    Attributes:
        root: /proc/PID/root.
        code: (path, inode) of the files whose code it has mapped; the path is within the root.
    """

    pid: int
    root: str
    code: frozenset[tuple[str, int]]


class Namesakes:
    """Notices where covered processes run another file than the one that is probed, at the same path.

    It looks at the processes that run at that moment, so one that ends before is not noticed. Only from the initial pid
    namespace, whose process ids the kernel covers by; elsewhere nothing is found.

    Args:
        covers: whether a process is covered, by its id.
    """

    def __init__(self, binaries: Sequence[Binary], covers: Callable[[int], bool]) -> None:
        self._unseen = dict(enumerate(binaries))
        self._covers = covers
        self._next = 0.0

    def found(self, *, at_once: bool = False) -> dict[int, str]:
        """Return of which binaries others are run, by number, with a sentence that says where; each once.

        Looks at most once a second, and finds nothing meanwhile, unless `at_once`.
        """
        now = time.monotonic()
        if not self._unseen or (now < self._next and not at_once):
            return {}
        self._next = now + _EVERY_SECONDS
        found = {}
        for other in self._other_roots():
            for number, binary in list(self._unseen.items()):
                place = _namesake(binary, other)
                if place:
                    found[number] = (
                        f"process {other.pid}, in a root of its own, runs another file at this path, whose calls "
                        f"were not seen; expect {place} as well"
                    )
                    del self._unseen[number]
        return found

    def _other_roots(self) -> Iterator[_OtherRoot]:
        """Yield the covered processes with a root or mount namespace of their own."""
        own = _view("self")
        for name in os.listdir("/proc"):  # noqa: PTH208
            # Processes end while they are looked at, and some may not be looked at.
            with suppress(OSError):
                if name.isdecimal() and _view(name) != own and self._covers(int(name)):
                    root = f"/proc/{name}/root"
                    yield _OtherRoot(int(name), root, frozenset(_mapped(name, os.readlink(root))))  # noqa: PTH115


def _view(process: str) -> tuple[int, int, int]:
    """Return what tells whether two processes see the same files: mount namespace and root."""
    root = os.stat(f"/proc/{process}/root")  # noqa: PTH116
    return os.stat(f"/proc/{process}/ns/mnt").st_ino, root.st_dev, root.st_ino  # noqa: PTH116


def _mapped(process: str, root: str) -> Iterator[tuple[str, int]]:
    """Yield (path, inode) of the mapped code; paths of a root below ours are shown from ours."""
    with open(f"/proc/{process}/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123
        for inode, path in _CODE.findall(maps.read()):
            yield path.removeprefix(root.rstrip("/")), int(inode)


def _namesake(binary: Binary, other: _OtherRoot) -> str:
    """Return the path of what a process runs in a binary's place; empty where that is the binary, or nothing."""
    try:
        place = within_root(f"{other.root}{binary.path}")
        there = os.stat(place)  # noqa: PTH116
    except OSError:
        return ""
    # An overlay shows a file of its layers under a device of its own, and probes are in both.
    same = (there.st_ino, there.st_mtime_ns, there.st_size) == (binary.inode, binary.mtime_ns, binary.size)
    path = place.removeprefix(other.root)
    runs = any(path == mapped and inode != binary.inode for mapped, inode in other.code)
    return place if runs and not same else ""
