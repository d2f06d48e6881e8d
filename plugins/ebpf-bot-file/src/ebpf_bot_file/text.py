r"""Keeps bytes that may not be text in JSON strings.

Linux names (of threads, files, arguments) are bytes. Nearly all are UTF-8 and are stored as they read; any other byte
is written as `\xff`, and so that nothing is ambiguous a backslash as `\\`.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["bytes_of", "bytes_to_text", "string_of", "string_to_text"]

_ESCAPED: Final = re.compile(rb"\\(\\|x[0-9a-f]{2})")


def bytes_to_text(raw: bytes) -> str:
    """Return any bytes as text of Unicode characters."""
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def bytes_of(text: str) -> bytes:
    """Return the bytes that `bytes_to_text` was given."""
    return _ESCAPED.sub(_unescape, text.encode())


def string_to_text(string: str) -> str:
    """Return any string, also one with lone surrogates, as text of Unicode characters."""
    return bytes_to_text(string.encode("utf-8", "surrogatepass"))


def string_of(text: str) -> str:
    """Return the string that `string_to_text` was given."""
    return bytes_of(text).decode("utf-8", "surrogatepass") if "\\" in text else text


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return code if code == b"\\" else bytes([int(code[1:], 16)])
