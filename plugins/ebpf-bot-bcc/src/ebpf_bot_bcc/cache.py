"""A folder of ours alone, for what is made once and used by the runs after: what is in it is compiled, or run by the kernel."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

__all__ = ["kept", "private_folder"]

_log = logging.getLogger(__name__)

_FORMAT: Final = 1
"""Changes with what is kept, so that what an older version kept is not taken for it."""


def kept(of_what: object, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was made of the same before, else make it; where nothing can be kept, it is made each time.

    Args:
        of_what: all that the result depends on, as JSON has it.
        make: makes it; an object as JSON has it.
    """
    name = hashlib.sha256(json.dumps([_FORMAT, of_what]).encode()).hexdigest()
    try:
        file = private_folder("bcc-programs") / f"{name}.json"
    except OSError as error:
        _log.debug("nothing is kept: %s", error)
        return make()
    with suppress(OSError, ValueError):  # one that is not whole is as good as none
        found: dict[str, Any] = json.loads(file.read_bytes())
        return found
    made = make()
    try:
        _write(file, json.dumps(made))
    except OSError as error:  # such as a full disk
        _log.debug("nothing is kept: %s", error)
    return made


def _write(file: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as scratch:
        try:
            scratch.write(text)
            scratch.flush()
            Path(scratch.name).replace(file)
        except OSError:
            Path(scratch.name).unlink()
            raise


def private_folder(name: str) -> Path:
    """Return a folder below the user's cache, made if it is not there.

    Raises:
        OSError: it cannot be made, or belongs to, or may be written by, somebody else.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - HOME may be unset
    folder = Path(base) / "ebpf-bot" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} belongs to, or may be written by, somebody else")
    return folder
