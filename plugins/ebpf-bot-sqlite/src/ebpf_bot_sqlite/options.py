"""What a plan may say about the store."""

from __future__ import annotations

import attrs

__all__ = ["SqliteOptions"]


@attrs.frozen
class SqliteOptions:
    """Options of the store `sqlite`.

    Attributes:
        path: the database file; SQLite keeps `PATH-wal` and `PATH-shm` beside it while it is in use.
    """

    path: str = attrs.field(default=".ebpf-bot.db", validator=attrs.validators.matches_re(r"[^\0]+"))
