"""What a plan may say about the store."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["FileOptions"]

_MIB: Final = 1024 * 1024


@attrs.frozen
class FileOptions:
    """Options of the store `file`.

    Attributes:
        path: the directory of the segments; made if the directory that it lies in is there.
        segment_bytes: a segment that has reached this size is followed by the next. A record is never split, so a
            segment of one large record may be larger.
    """

    path: str = attrs.field(default=".ebpf-bot", validator=attrs.validators.matches_re(r"[^\0]+"))
    segment_bytes: int = attrs.field(default=64 * _MIB, validator=attrs.validators.ge(1))
