"""What a pattern's target means: a path, a wildcard for many, or a bare name found as a shell or the linker would."""

# Paths are strings here, as they are in patterns and in names; one wildcard makes thousands.
# ruff: noqa: PTH109, PTH113, PTH116, PTH118, PTH208

from __future__ import annotations

import fnmatch
import os
import platform
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final

from ebpf_bot_core import Reason, Verdict
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.rooted import canonical, within_root

__all__ = ["Targets", "before_wildcard", "has_wildcard"]

_WILDCARD: Final = re.compile(r"[*?\[]")
_LDCONFIG: Final = ("/sbin/ldconfig", "/usr/sbin/ldconfig")
"""Not in the PATH of ordinary users."""
_LDCONFIG_SECONDS: Final = 10
_LDCONFIG_LINE: Final = re.compile(r"\t(\S+) \(([^)]*)\) => (.+)")
_LDCONFIG_TAG: Final = {"x86_64": "x86-64", "aarch64": "AArch64"}
"""How `ldconfig -p` marks the libraries of a machine, beside `libc6`."""
_LIBRARY_DIRECTORIES: Final = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")
"""Where libraries are on systems without glibc's cache, as musl's linker looks."""

_MAX_ENTRIES: Final = 200_000
"""Directory entries that one wildcard may look at."""
_MAX_PATHS: Final = 10_000
"""Files that one wildcard may name; each is read."""


def has_wildcard(text: str) -> bool:
    """Whether `text` holds `*`, `?` or `[`."""
    return _WILDCARD.search(text) is not None


def before_wildcard(text: str) -> str:
    """Return what is before the first `*`, `?` or `[`; all of it where there is none."""
    return _WILDCARD.split(text, maxsplit=1)[0]


class Targets:
    """Finds the files that targets name. What PATH and the linker's cache say is read once."""

    def __init__(self, suggestions: Suggestions) -> None:
        self._suggestions = suggestions
        self._plain: dict[str, str] = {}

    def paths(self, target: str) -> list[str]:
        """Return the absolute paths that a target names: one for a path or a plain name, any number for a wildcard.

        A plain name is that of a program in PATH, else that of a library, with or without its version: `libz`,
        `libz.so`, `libz.so.1`. Where a library has several versions it is the one that a linker would take for
        `-l`, else the newest. A wildcard without a slash is matched with such names. A target that exists as a file
        is that file, whatever characters it has.

        Raises:
            UnprobeableError: `missing`, with the nearest names, where no file is named; `refused` where a wildcard
                reaches more files than are looked at.
        """
        if "/" in target:
            if _is_there(target) or not has_wildcard(target):
                return [_absolute(target)]
            return _each_once(_expand(target))
        if has_wildcard(target):
            return self._named_alike(target)
        if target not in self._plain:
            self._plain[target] = self._named(target)
        return [self._plain[target]]

    def _named(self, name: str) -> str:
        path = shutil.which(name) or self._library(name)
        if path is None:
            raise UnprobeableError(Verdict.MISSING, Reason.BINARY_MISSING, self._nowhere(name))
        return _absolute(path)

    def _named_alike(self, wildcard: str) -> list[str]:
        match = re.compile(fnmatch.translate(wildcard)).match
        paths = [path for name, path in self._libraries.items() if match(name)]
        paths += [path for name, path in _programs() if match(name)]
        return _each_once(paths)

    def _library(self, name: str) -> str | None:
        exact = self._libraries.get(name) or self._libraries.get(f"{name}.so")
        if exact:
            return exact
        stem = name.removesuffix(".so")
        versions = [other for other in self._libraries if other.startswith(f"{stem}.so.")]
        return self._libraries[max(versions, key=_version)] if versions else None

    def _nowhere(self, target: str) -> str:
        if os.path.isfile(target):
            return (
                f"no program or library is called {target}; for the file in this directory write ./{target}"
            )
        whole = ".so" in target
        libraries = (name if whole else name.partition(".so")[0] for name in self._libraries)
        near = self._suggestions.near(target, (*libraries, *(name for name, _ in _programs())))
        return f"no program in PATH and no library is called {target}{near}"

    @cached_property
    def _libraries(self) -> dict[str, str]:
        """Library file name -> path, in the order in which the dynamic linker would look."""
        libraries: dict[str, str] = {}
        chosen = os.environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":")
        for name, path in (*_in_directories(chosen), *_cached_libraries()):
            if ".so" in name and name.isprintable() and path.isprintable():
                libraries.setdefault(name, path)
        return libraries


def _programs() -> Iterator[tuple[str, str]]:
    """Yield name and path of the files in PATH, those that a shell would find first."""
    return _in_directories(os.environ.get("PATH", os.defpath).split(os.pathsep))


def _in_directories(directories: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and path of the files in directories; relative ones would mean something else elsewhere."""
    for directory in directories:
        if directory.startswith("/"):
            yield from ((name, os.path.join(directory, name)) for name in sorted(_listed(directory)))


def _cached_libraries() -> Iterator[tuple[str, str]]:
    """Yield what `ldconfig -p` lists for this machine, else what is in the usual directories.

    A line is `<tab>libz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1`.
    """
    program = next((path for path in _LDCONFIG if os.access(path, os.X_OK)), None)
    try:
        if program is None:
            raise FileNotFoundError(_LDCONFIG[0])
        done = subprocess.run(  # noqa: S603 - a fixed path
            [program, "-p"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LDCONFIG_SECONDS,
            check=True,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        yield from _in_directories(_LIBRARY_DIRECTORIES)
        return
    tag = _LDCONFIG_TAG.get(platform.machine(), "libc6")
    for line in os.fsdecode(done.stdout).splitlines():
        found = _LDCONFIG_LINE.fullmatch(line)
        # Variants for a kind of CPU carry `hwcap`; which of them the linker takes depends on the CPU.
        if found and tag in found[2].split(",") and "hwcap" not in found[2]:
            yield found[1], found[3]


def _version(name: str) -> tuple[tuple[int, str], ...]:
    """Order `libx.so.10` after `libx.so.9`."""
    parts = name.partition(".so.")[2].split(".")
    return tuple((int(part) if part.isdecimal() else -1, part) for part in parts)


def _absolute(path: str) -> str:
    """Return the path from the root; `..` stays, since what it means is for the kernel to say."""
    if path.startswith("/"):
        return path
    try:
        return os.path.join(os.getcwd(), path)
    except OSError as error:
        detail = f"{path} does not exist; nor does the working directory"
        raise UnprobeableError(Verdict.MISSING, Reason.BINARY_MISSING, detail) from error


def _each_once(paths: Iterable[str]) -> list[str]:
    """Return the regular files among the paths, those behind symbolic links by their real path, ascending."""
    return sorted({real for path in paths if (real := _real_file(_absolute(path))).isprintable() and real})


def _real_file(path: str) -> str:
    """Return the path by which a regular file is known; empty where there is none."""
    try:
        path = within_root(path)
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    return canonical(path, status) if stat.S_ISREG(status.st_mode) else ""


def _expand(wildcard: str) -> list[str]:
    """Return the paths that a shell would put in place of `wildcard`; hidden files only where it begins with a dot.

    Unlike glob.glob this looks at a bounded number of directory entries, however deep the tree.
    """
    looked_at = 0
    level = ["/" if wildcard.startswith("/") else ""]
    for part in filter(None, wildcard.split("/")):
        below: list[str] = []
        match = re.compile(fnmatch.translate(part)).match
        for above in level:
            if not has_wildcard(part):
                names = [part] if _is_there(os.path.join(above, part)) else []
            else:
                names = _listed(above or ".")
            looked_at += 1 + len(names)
            below += [os.path.join(above, name) for name in names if _is_shown(name, part) and match(name)]
            _check(wildcard, looked_at, len(below))
        level = below
    return level


def _is_there(path: str) -> bool:
    """Whether a directory has such an entry, be it a link to nowhere."""
    directory, name = os.path.split(path)
    try:
        return os.path.lexists(os.path.join(within_root(directory), name))
    except OSError:
        return False


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(within_root(directory))
    except OSError:  # no directory, or not for us
        return []


def _is_shown(name: str, wildcard: str) -> bool:
    return not name.startswith(".") or wildcard.startswith(".")


def _check(wildcard: str, entries: int, paths: int) -> None:
    if entries > _MAX_ENTRIES or paths > _MAX_PATHS:
        raise UnprobeableError(
            Verdict.REFUSED,
            Reason.NOT_FOUND,
            f"the wildcard {wildcard} reaches more than {_MAX_PATHS} files or {_MAX_ENTRIES} directory entries; "
            "write more of the path",
        )
