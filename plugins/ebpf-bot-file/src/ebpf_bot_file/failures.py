"""Says in one line each what went wrong with a file, and what to do about it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

from ebpf_bot_core import StoreError

__all__ = ["explained", "missing"]

_ELSEWHERE: Final = "choose another path with --store file:PATH"

_HINTS: Final = {
    errno.EACCES: f"make the directory readable and writable for this user, or {_ELSEWHERE}",
    errno.EDQUOT: f"free some space, or {_ELSEWHERE}; what was saved is kept",
    errno.EEXIST: f"the store is a directory; {_ELSEWHERE}",
    errno.EFBIG: f"see `ulimit -f`, or {_ELSEWHERE}; what was saved is kept",
    errno.ENOENT: f"make the directory that it lies in, or {_ELSEWHERE}",
    errno.ENOSPC: f"free some space, or {_ELSEWHERE}; what was saved is kept",
    errno.ENOTDIR: f"the store is a directory; {_ELSEWHERE}",
}


@contextlib.contextmanager
def explained(path: str, doing: str) -> Iterator[None]:
    """Turn an OSError into a StoreError.

    Args:
        path: the store, as the user wrote it.
        doing: `read` or `write`, for the message.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        cause = os.strerror(number) if number else str(error)
        raise StoreError(
            f"cannot {doing} store {path}: {cause}", hint=_HINTS.get(number, _ELSEWHERE)
        ) from error


def missing(path: str) -> StoreError:
    """Return the error for a store that nothing was ever saved in."""
    return StoreError(f"no store at {path}", hint="run `ebpf-bot run` first, or give the path of its store")
