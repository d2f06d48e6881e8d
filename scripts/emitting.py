"""What the emit scripts share: an export to where `OTEL_*` says that tells what was sent, and whether it was accepted."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ebpf_bot_core.telemetry.destination import SIGNALS, Destination, switched_off
from ebpf_bot_core.telemetry.logs import handling
from ebpf_bot_core.telemetry.sdk import Export

SECONDS = 10.0


def emit(what: Callable[[], None]) -> int:
    """Export what this emits; print the trace, and whether each signal was accepted; return the exit status."""
    off = switched_off()
    if off:
        print(f"nothing was sent: export is switched off by {off}", file=sys.stderr)
        return 1
    destination = Destination.from_environment()
    try:
        export = Export(destination)
        export.open()
    except Exception as error:  # noqa: BLE001 - a variable that the SDK cannot read
        print(f"nothing was sent: {error}", file=sys.stderr)
        return 1
    sent = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.add_span_processor(SimpleSpanProcessor(sent))
    logging.getLogger().setLevel(logging.INFO)
    if export.log_handler is not None:
        with handling(export.log_handler, logging.INFO):
            what()
    else:
        what()
    export.close(SECONDS)
    _show(sent.get_finished_spans())
    delivery = export.delivery
    missing = [signal for signal in SIGNALS if signal in delivery.failed or signal not in delivery.delivered]
    accepted = [signal for signal in SIGNALS if signal not in missing]
    if accepted:
        print(f"accepted by {destination.where()}: {', '.join(accepted)}")
    if missing:
        print(
            f"not accepted by {destination.where()}: {', '.join(missing)}: "
            f"{delivery.reason or 'not exported'}; {destination.hint}",
            file=sys.stderr,
        )
    return 1 if missing else 0


def _show(spans: tuple[ReadableSpan, ...]) -> None:
    """Print the spans as a tree, below the id of each trace."""
    children: dict[int | None, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        children.setdefault(span.parent.span_id if span.parent else None, []).append(span)

    def show(span: ReadableSpan, depth: int) -> None:
        print(f"{'  ' * depth}{span.name}")
        for child in children.get(span.context.span_id, ()):
            show(child, depth + 1)

    for root in children.get(None, ()):
        print(f"trace {trace.format_trace_id(root.context.trace_id)}")
        show(root, 1)
