"""Paths below /proc/PID/root, whose symbolic links mean what they mean to that process.

The kernel goes through /proc/PID/root into the process's root, but takes an absolute link that it meets there from our
own root: `/usr/lib/libx.so -> /opt/libx.so` of a container would lead to the host's /opt. So links are followed here, and
what is left is a path without any.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Final

__all__ = ["canonical", "within_root"]

_BELOW_ROOT: Final = re.compile(r"(/proc/(?:\d+|self|thread-self)(?:/task/\d+)?/root)(/.*)?", re.DOTALL)
_MOST_LINKS: Final = 40
"""As many as the kernel follows, path_resolution(7)."""


def within_root(path: str) -> str:
    """Return a path below /proc/PID/root with all links followed within that root; any other path as it is.

    Parts that are not there stay; `..` does not lead out of the root. A container that changes its links meanwhile can
    make the path a wrong one; whoever opens it has to see what file it got.

    Raises:
        OSError: ELOOP, there are too many links.
    """
    found = _BELOW_ROOT.fullmatch(path)
    if found is None:
        return path
    root, below = found[1], found[2] or ""
    left, inside, links = _parts(below), [""], 0
    while left:
        part = left.pop()
        if part == "..":
            inside = inside[:-1] or [""]
            continue
        link = _link(f"{root}{'/'.join([*inside, part])}") if inside[1:2] != ["proc"] else ""
        if not link:
            inside.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if link.startswith("/"):
            inside = [""]
        left += _parts(link)
    return root + "/".join(inside)


def canonical(path: str, status: os.stat_result) -> str:
    """Return the real path of a file if it leads to this very file, else the path without the links of its root.

    It does not where it goes through /proc/PID/root of another mount namespace, or /proc/PID/exe of a deleted program:
    "/usr/bin/app (deleted)".

    Args:
        path: absolute, and below /proc/PID/root as `within_root` gives it.
        status: of the file.
    """
    real = os.path.realpath(path)
    try:
        same = os.path.samestat(os.stat(real), status)  # noqa: PTH116 - called for thousands of paths
    except OSError:
        same = False
    return real if same else path


def _parts(path: str) -> list[str]:
    """Return the parts of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _link(path: str) -> str:
    """Return where a symbolic link leads; empty for anything else.

    Links of /proc are not asked: what they lead to, their text does not say.
    """
    try:
        return os.readlink(path)  # noqa: PTH115
    except (OSError, ValueError):
        return ""
