"""The handler that gives records of `logging` to OpenTelemetry. Uses its API only.

OpenTelemetry has such a handler, in a package whose import takes as long as all that is recorded with.
"""

from __future__ import annotations

import logging
import time
import traceback
from typing import Final

from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.context import get_current
from opentelemetry.util.types import AnyValue

from ebpf_bot_core.telemetry import names

__all__ = ["ExportingHandler"]

_NOT_EXTRA: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", *names.LOG_ATTRIBUTES}
)
"""What every record has, and the ids of its span, which are exported in fields of their own."""
_SEVERITY_TEXT: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class ExportingHandler(logging.Handler):
    """Exports records: message, level, extra fields, exception, and the span that they were made in.

    Args:
        provider: where to.
        without: loggers, by the first part of their names, whose records are left out: exported, the complaints of
            the exporters would make them complain again.
    """

    def __init__(self, provider: LoggerProvider, without: tuple[str, ...]) -> None:
        super().__init__()
        self._provider = provider
        self.addFilter(lambda record: record.name.partition(".")[0] not in without)

    def emit(self, record: logging.LogRecord) -> None:
        """Export one record; its text is escaped where it is no UTF-8, which would cost the whole batch."""
        try:
            self._provider.get_logger(record.name).emit(
                LogRecord(
                    timestamp=int(record.created * 1e9),
                    observed_timestamp=time.time_ns(),
                    context=get_current(),
                    severity_text=_SEVERITY_TEXT.get(record.levelname, record.levelname),
                    severity_number=_severity(record.levelno),
                    body=_encodable(record.getMessage()),
                    attributes=_attributes(record),
                )
            )
        except Exception:  # noqa: BLE001 - as every handler does: who logs must not fail for it
            self.handleError(record)


def _severity(level: int) -> SeverityNumber:
    """Return OpenTelemetry's number of a level: four for each ten of Python's."""
    if level < logging.DEBUG:
        return SeverityNumber.UNSPECIFIED
    tens, rest = divmod(min(level, logging.CRITICAL + 3), 10)
    return SeverityNumber(4 * tens + 1 + min(rest, 3))


def _attributes(record: logging.LogRecord) -> dict[str, AnyValue]:
    attributes: dict[str, AnyValue] = {
        name: _encodable(value) if isinstance(value, str) else value
        for name, value in vars(record).items()
        if name not in _NOT_EXTRA
    }
    kind, error, _ = record.exc_info or (None, None, None)
    if kind is not None:
        attributes["exception.type"] = kind.__qualname__
        attributes["exception.message"] = _encodable(str(error))
        attributes["exception.stacktrace"] = _encodable("".join(traceback.format_exception(error)))
    return attributes


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
