"""What a plan may say about the injector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["BccOptions"]


def _patterns(value: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """Take one pattern for a list of one."""
    listed = {function: [given] if isinstance(given, str) else given for function, given in value.items()}
    for function, patterns in listed.items():
        if not isinstance(patterns, list | tuple) or not all(isinstance(each, str) for each in patterns):
            raise TypeError(f"attach.{function}: expected a pattern or a list of patterns, not {patterns!r}")
    return {function: tuple(patterns) for function, patterns in listed.items()}


@attrs.frozen
class BccOptions:
    """Options of the injector `bcc`.

    Attributes:
        source: a BCC program, a file of C; its functions are then the probes. Empty: the plugin's own programs serve all
            probes.
        attach: which probes its functions are attached to, a pattern or several for each function; a function that is
            named as BCC has it (`tracepoint__sched__sched_switch`, as TRACEPOINT_PROBE makes) needs none.
        cflags: options of clang for the source, such as `-DLIMIT=10`.
        module: the folder that holds BCC's Python package, where it is not where distributions have it.
    """

    source: str = ""
    attach: Mapping[str, Any] = attrs.field(factory=dict, converter=_patterns)
    cflags: tuple[str, ...] = ()
    module: str = ""

    def __attrs_post_init__(self) -> None:
        if not self.source and (self.attach or self.cflags):
            raise ValueError("`attach` and `cflags` are for a `source`, and there is none")
