r"""Keeps bytes that may not be text in text: for stores, and whatever else has only strings.

Linux names (of threads, files, arguments) are bytes. Nearly all are UTF-8 and are stored as they read; any other byte
is written as `\xff`, and so that nothing is ambiguous a backslash as `\\`.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["escape_bytes", "escape_string", "unescape_bytes", "unescape_string"]

_ESCAPED: Final = re.compile(rb"\\(\\|x[0-9a-f]{2})")


def escape_bytes(raw: bytes) -> str:
    """Return any bytes as text of Unicode characters."""
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def unescape_bytes(text: str) -> bytes:
    """Return the bytes that `escape_bytes` was given."""
    return _ESCAPED.sub(_unescape, text.encode())


def escape_string(string: str) -> str:
    """Return any string, also one with lone surrogates, as text of Unicode characters."""
    return escape_bytes(string.encode("utf-8", "surrogatepass"))


def unescape_string(text: str) -> str:
    """Return the string that `escape_string` was given."""
    return unescape_bytes(text).decode("utf-8", "surrogatepass") if "\\" in text else text


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return code if code == b"\\" else bytes([int(code[1:], 16)])
