"""One record as one line: its JSON text, and a checksum that tells a whole record from a torn one."""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["frame", "unframe"]

_BEFORE_SUM: Final = b'{"crc32":"'
_BEFORE_TEXT: Final = b'","record":'
_AFTER_TEXT: Final = b"}\n"
_SUM: Final = slice(len(_BEFORE_SUM), len(_BEFORE_SUM) + 8)
_TEXT_AT: Final = _SUM.stop + len(_BEFORE_TEXT)


def frame(text: bytes) -> bytes:
    """Return the line of a record.

    Args:
        text: the record as JSON, without a line break.
    """
    return b"".join((_BEFORE_SUM, _checksum(text), _BEFORE_TEXT, text, _AFTER_TEXT))


def unframe(line: bytes) -> memoryview | None:
    """Return the JSON text of a line, or None if the line is not, byte for byte, what `frame` has made."""
    if (
        not line.startswith(_BEFORE_SUM)
        or not line.startswith(_BEFORE_TEXT, _SUM.stop)
        or not line.endswith(_AFTER_TEXT)
    ):
        return None
    text = memoryview(line)[_TEXT_AT : -len(_AFTER_TEXT)]
    return text if line[_SUM] == _checksum(text) else None


def _checksum(text: bytes | memoryview) -> bytes:
    return b"%08x" % zlib.crc32(text)
