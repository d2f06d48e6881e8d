"""Logs: records that name the span they were made in, and a handler that sees more of them than the console does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace

from ebpf_bot_core.telemetry import names

__all__ = ["handling", "traced_logger"]


class _TracedLogger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            extra = dict(kwargs.get("extra") or {})
            extra[names.TRACE_ID] = trace.format_trace_id(context.trace_id)
            extra[names.SPAN_ID] = trace.format_span_id(context.span_id)
            kwargs["extra"] = extra
        return msg, kwargs


def traced_logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """Return a logger whose records carry `trace_id` (32 hex) and `span_id` (16 hex) inside a span.

    The names are this project's own: an OpenTelemetry log handler takes the ids from the context by itself.
    """
    return _TracedLogger(logging.getLogger(name), {})


@contextmanager
def handling(handler: logging.Handler, level: int) -> Iterator[None]:
    """Give everyone's records from `level` on to one more handler, while the context is open.

    The other handlers of the root logger show no more than before: what the root logger kept from them until now,
    each keeps from itself meanwhile.
    """
    root = logging.getLogger()
    level_before = root.level
    others = [(other, other.level) for other in root.handlers]
    for other, own in others:
        other.setLevel(max(own, level_before))
    root.setLevel(min(level_before, level))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level_before)
        for other, own in others:
            other.setLevel(own)
