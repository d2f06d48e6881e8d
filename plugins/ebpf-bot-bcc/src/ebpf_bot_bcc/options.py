"""What a plan may say about the injector."""

from __future__ import annotations

import attrs

__all__ = ["BccOptions"]


@attrs.frozen
class BccOptions:
    """Options of the injector `bcc`.

    Attributes:
        module: the folder that holds BCC's Python package, where it is not where distributions have it.
    """

    module: str = ""
