"""Tracefs, read without leaving a mount that anybody sees."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from pathlib import Path
from typing import Final, Self

from ebpf_bot_core import Reason, Verdict
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.unseen import open_unseen

__all__ = ["MOUNTS", "Tracefs"]

MOUNTS: Final = Path("/proc/self/mountinfo")

_FUNCTIONS: Final = "../available_filter_functions"
_MAX_FILE: Final = 1 << 16
"""Characters of a tracepoint's id or format; the kernel's longest format has some 5,000."""
_NO_EVENTS: Final = frozenset({"ftrace"})
"""Categories that only describe what the function tracers write; nothing attaches to their events."""


class Tracefs:
    """The tracepoints of this kernel, by category and name; a context manager.

    An existing mount is used where there is one. Else an own instance of the file system is opened with fsopen(2) and
    fsmount(2), which attaches it nowhere: kernel 5.2, CAP_SYS_ADMIN. Reading an existing mount needs the permissions
    of its files, which are root's by default.

    It opens itself when first asked. What it lists is read once a category; categories that come later, with modules
    or dynamic probes, are not seen before it is closed and asked anew.

    Args:
        mounts: a file in the format of /proc/PID/mountinfo, see proc(5).
    """

    def __init__(self, mounts: Path = MOUNTS) -> None:
        self._mounts = mounts
        self._events: int | None = None
        self._names: dict[str, list[str]] = {}
        self._categories: list[str] | None = None

    def open(self) -> None:
        """Open the directory `events`. May be called twice.

        Raises:
            UnprobeableError: PERMISSION, or KERNEL_CONFIG where the kernel has no tracefs or cannot open one unseen.
        """
        if self._events is None:
            self._events = self._open_mounted() or _open_unseen()

    def close(self) -> None:
        """Close it, and forget what was listed. May be called twice."""
        if self._events is not None:
            os.close(self._events)
        self._events, self._categories, self._names = None, None, {}

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def categories(self) -> list[str]:
        """Return the names of all categories, ascending."""
        if self._categories is None:
            self._categories = [name for name in self._directories(".") if name not in _NO_EVENTS]
        return self._categories

    def events(self, category: str) -> list[tuple[str, str]]:
        """Return (category, name) of all tracepoints in the categories that a pattern or name matches, ascending."""
        match = re.compile(fnmatch.translate(category)).match
        return [(found, name) for found in self.categories() if match(found) for name in self._in(found)]

    def event_id(self, category: str, name: str) -> int:
        """Return the number of a tracepoint, as perf_event_open(2) takes it.

        Raises:
            UnprobeableError: there is no such tracepoint, or its id cannot be read.
        """
        return int(self._read(category, name, "id"))

    def format(self, category: str, name: str) -> str:
        """Return what a tracepoint's record holds, as its file `format` says it; errors as for `event_id`."""
        return self._read(category, name, "format")

    def _read(self, category: str, name: str, file: str) -> str:
        if category not in self.categories() or name not in self._in(category):
            detail = f"there is no tracepoint {category}:{name}"
            raise UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, detail)
        try:
            descriptor = os.open(f"{category}/{name}/{file}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._events)
            with os.fdopen(descriptor, encoding="utf-8", errors="replace") as opened:
                return opened.read(_MAX_FILE)
        except FileNotFoundError as error:  # its module was unloaded since it was listed
            detail = f"there is no tracepoint {category}:{name} any more"
            raise UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, detail) from error
        except OSError as error:
            raise _refusal(error) from error

    def functions(self) -> list[str]:
        """Return the names of the kernel's functions that can be traced, its modules' among them, in no order.

        A name stands there as often as there are functions of it. Needs CONFIG_DYNAMIC_FTRACE.

        Raises:
            UnprobeableError: the list is not there or may not be read; a locked down kernel shows it to no one.
        """
        self.open()
        try:
            descriptor = os.open(_FUNCTIONS, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._events)
            with open(descriptor, encoding="ascii", errors="replace") as lines:  # noqa: PTH123 - a descriptor
                return [line.split(maxsplit=1)[0] for line in lines]
        except OSError as error:
            raise _refusal(error) from error

    def _in(self, category: str) -> list[str]:
        if category not in self._names:
            self._names[category] = self._directories(category)
        return self._names[category]

    def _directories(self, path: str) -> list[str]:
        self.open()
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._events)
            try:
                with os.scandir(descriptor) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _refusal(error) from error

    def _open_mounted(self) -> int | None:
        """Open `events` of a mount that is there already.

        The mounts are read from a list: looking into /sys/kernel/debug/tracing would make the kernel mount it.
        """
        try:
            lines = self._mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            return None
        for line in lines:
            # 36 35 0:12 ROOT MOUNT_POINT OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER_OPTIONS
            place, _, kind = line.partition(" - ")
            fields = place.split(" ")
            if kind.partition(" ")[0] != "tracefs" or len(fields) < 5 or fields[3] != "/":  # noqa: PLR2004
                continue
            # Space, tab, newline and backslash are written as three octal digits.
            mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
            try:
                return os.open(f"{mount}/events", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                continue  # hidden below another mount, or not for us; the kernel may still give us our own
        return None


def _open_unseen() -> int:
    """Open `events` of a tracefs that is mounted nowhere."""
    root = -1
    try:
        root = open_unseen("tracefs")
        return os.open("events", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    except OSError as error:
        raise _refusal(error) from error
    finally:
        if root >= 0:
            os.close(root)


def _refusal(error: OSError) -> UnprobeableError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return UnprobeableError(
            Verdict.REFUSED,
            Reason.PERMISSION,
            "tracefs cannot be read without CAP_SYS_ADMIN or a mount that is readable; rawtracepoint: needs no tracefs",
        )
    if error.errno in (errno.ENODEV, errno.ENOSYS, errno.ENOENT):
        return UnprobeableError(
            Verdict.REFUSED,
            Reason.KERNEL_CONFIG,
            f"this kernel offers no tracefs ({error.strerror}); if it is older than 5.2, mount it: "
            "mount -t tracefs tracefs /sys/kernel/tracing",
        )
    detail = f"tracefs cannot be read ({error.strerror}); rawtracepoint: needs no tracefs"
    return UnprobeableError(Verdict.REFUSED, Reason.UNREADABLE, detail)
