"""Loggers whose records name the span that they were written in."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from opentelemetry import trace

__all__ = ["traced_logger"]


class _TracedLogger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            extra = dict(kwargs.get("extra") or {})
            extra["trace_id"] = trace.format_trace_id(context.trace_id)
            extra["span_id"] = trace.format_span_id(context.span_id)
            kwargs["extra"] = extra
        return msg, kwargs


def traced_logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """Return a logger whose records carry `trace_id` (32 hex) and `span_id` (16 hex) inside a recording span.

    The names are this project's own: an OpenTelemetry log handler takes the ids from the context by itself.
    """
    return _TracedLogger(logging.getLogger(name), {})
