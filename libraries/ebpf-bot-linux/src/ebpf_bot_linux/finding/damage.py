"""Damaged files: all that reading one can raise, turned into a refusal."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError

from ebpf_bot_core import Reason, Verdict
from ebpf_bot_linux.finding.refusals import UnprobeableError

__all__ = ["ElfError", "damage_refused"]

ElfError = ELFError
"""Raised by the readers of this plugin, as by pyelftools, where a file contradicts the format or itself."""

_DAMAGE: Final = (
    ElfError,  # what pyelftools and this plugin raise on purpose
    ConstructError,  # from the parser below pyelftools, where it is called directly
    EOFError,  # OpenFile.read: beyond the end of the file
    # What pyelftools and Python raise by accident when values make no sense:
    AssertionError,
    LookupError,  # KeyError, IndexError
    ValueError,  # UnicodeDecodeError among them; numpy on sizes that do not fit
    ArithmeticError,  # OverflowError
    AttributeError,  # a structure that is not there
    TypeError,  # an enumeration's number where its name is expected
    struct.error,
    MemoryError,
    RecursionError,
)
"""The one list of what reading a damaged file can raise."""


@contextmanager
def damage_refused(path: str) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into a refusal; other errors pass.

    Raises:
        UnprobeableError: `refused`, MALFORMED_ELF where the file is damaged, UNREADABLE where the medium is.
    """
    try:
        yield
    except UnprobeableError:
        raise
    except OSError as error:
        detail = f"{path} cannot be read: {error.strerror or error}"
        raise UnprobeableError(Verdict.REFUSED, Reason.UNREADABLE, detail) from error
    except _DAMAGE as error:
        said = str(error).partition("\n")[0][:200]
        if not isinstance(error, ElfError | EOFError):  # meant for programmers: say what kind of error it was
            said = f"{type(error).__name__} {said}".rstrip()
        detail = f"{path} is no sound ELF file: {said}"
        raise UnprobeableError(Verdict.REFUSED, Reason.MALFORMED_ELF, detail) from error
