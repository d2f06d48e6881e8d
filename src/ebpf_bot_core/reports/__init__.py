"""Report formats: what one is, and the core's own, registered like anyone's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

from ebpf_bot_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_core.registry import Register
    from ebpf_bot_core.reports.document import CoverageDocument

__all__ = ["Report"]


class Report(Protocol):
    """Writes a coverage document in one format."""

    def write(self, document: CoverageDocument, stream: TextIO) -> None:
        """Write the whole document; the caller owns the stream and closes it."""
        ...


@hookimpl
def ebpf_bot_register_reports(register: Register[Report]) -> None:
    """Register `text` and `json`."""
    register("text", _text)
    register("json", _json)


def _text() -> Report:
    from ebpf_bot_core.reports.text import TextReport  # noqa: PLC0415 - it needs numpy and rich

    return TextReport()


def _json() -> Report:
    from ebpf_bot_core.reports.json import JsonReport  # noqa: PLC0415 - it needs numpy

    return JsonReport()
