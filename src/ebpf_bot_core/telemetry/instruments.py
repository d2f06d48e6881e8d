"""The tracer and the metric instruments, and the one way in which a stage's work becomes a span."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics, trace
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from ebpf_bot_core.errors import StageError
from ebpf_bot_core.telemetry import names
from ebpf_bot_core.verdicts import Reason, Verdict

if TYPE_CHECKING:
    from ebpf_bot_core.coverage import CoverageMap
    from ebpf_bot_core.run import Run

__all__ = ["Instruments", "core_version", "sample", "totals_json"]

_SAMPLE: Final = 10
_NAME_LENGTH: Final = 256
_DESCRIPTION_LENGTH: Final = 200
_SAY_AGAIN_SECONDS: Final = 10.0


class Instruments:
    """Everything that the pipeline records telemetry with; one for each run. It raises nothing of its own.

    Args:
        tracer_provider: by default the global one, so that an embedding system's SDK is used as it is.
        meter_provider: likewise.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(names.SCOPE, core_version(), tracer_provider)
        meter = metrics.get_meter(names.SCOPE, core_version(), meter_provider)
        self._decisions = _counter(meter, names.DECISIONS)
        self._errors = _counter(meter, names.ERRORS)
        self._signals = _counter(meter, names.SIGNALS_TOTAL)
        self._lost = _counter(meter, names.SIGNALS_LOST_TOTAL)
        self._latency = meter.create_histogram(
            names.DECISION_LATENCY.name,
            unit=names.DECISION_LATENCY.unit,
            description=names.DECISION_LATENCY.description,
            explicit_bucket_boundaries_advisory=names.LATENCY_BOUNDARIES_MS,
        )
        self._ratio = _gauge(meter, names.COVERAGE_RATIO)
        self._probes = _gauge(meter, names.PROBES)
        self._overhead = _gauge(meter, names.OVERHEAD_RATIO)
        self._rungs = {(verdict, Reason.NONE): 0 for verdict in Verdict}
        self._say_again = 0.0
        self._first_step: SpanContext | None = None
        # A counter does not exist for a reader of metrics before its first point.
        for counter in (self._decisions, self._errors, self._signals, self._lost):
            counter.add(0)

    @contextmanager
    def step(self, run: Run, number: int) -> Iterator[Span]:
        """Cover one step: the parent of what its stages do. An exception marks the span, and goes on."""
        attributes: dict[str, AttributeValue] = {names.RUN_ID: run.id, names.STEP_NUMBER: number}
        with self._tracer.start_as_current_span(
            names.STEP,
            attributes=attributes,
            links=self._links(),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if self._first_step is None and span.get_span_context().is_valid:
                self._first_step = span.get_span_context()
            with _marking(span):
                yield span

    @contextmanager
    def stage(self, name: str, plugin: str = "") -> Iterator[Span]:
        """Cover one call of a stage; an exception marks the span, is counted, and goes on."""
        with (
            self._tracer.start_as_current_span(
                name,
                attributes=_of_plugin(plugin),
                links=self._links_outside_a_step(),
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            self.counting(name),
            _marking(span),
        ):
            yield span

    @contextmanager
    def walk(self, name: str, plugin: str) -> Iterator[Span]:
        """Cover a walk over an iterator: as `stage`, but what its reader does meanwhile is not below the span."""
        span = self._tracer.start_span(
            name, attributes=_of_plugin(plugin), links=self._links_outside_a_step()
        )
        try:
            with self.counting(name), _marking(span):
                yield span
        finally:
            span.end()

    @contextmanager
    def counting(self, stage: str) -> Iterator[None]:
        """Count an exception as an error of `stage`, and let it go on: for calls that have no span of their own."""
        try:
            yield
        except Exception as error:
            self.failed(stage, error)
            raise

    @property
    def trace_id(self) -> str:
        """The run's first trace, 32 hex digits; empty without an SDK."""
        return trace.format_trace_id(self._first_step.trace_id) if self._first_step else ""

    def decided(self, strategy: str, milliseconds: float) -> None:
        """Count a decision and how long it took."""
        attributes = {names.STRATEGY: strategy}
        self._decisions.add(1, attributes)
        self._latency.record(milliseconds, attributes)

    def received(self, signals: int, lost: int) -> None:
        """Count what fired and what was lost."""
        self._signals.add(signals)
        self._lost.add(lost)

    def covered(self, coverage: CoverageMap) -> None:
        """Record the coverage map's ratio, and how many probes stand where and why.

        What has not changed is said again only every 10 seconds: a reader of differences (delta temporality) forgets
        what it is not told.
        """
        # What a gauge once said it says on and on: who has left a rung must be seen to have left it.
        rungs = dict.fromkeys(self._rungs, 0) | coverage.reasons
        now = time.monotonic()
        if rungs == self._rungs and now < self._say_again:
            return
        self._rungs, self._say_again = rungs, now + _SAY_AGAIN_SECONDS
        for (verdict, reason), count in rungs.items():
            attributes = {names.VERDICT: verdict.label, names.REASON: reason.code}
            self._probes.set(count, {name: value for name, value in attributes.items() if value})
        ratio = coverage.ratio
        if ratio is not None:
            self._ratio.set(ratio)

    def cost(self, overhead_ratio: float) -> None:
        """Record a backend's estimate of what the probes cost their targets."""
        self._overhead.set(overhead_ratio)

    def failed(self, stage: str, error: Exception) -> None:
        """Count an error of a stage, named by its span, or of an observer, named by the event it observed."""
        self._errors.add(1, {names.ERROR_TYPE: _error_type(error), names.STAGE: stage})

    def _links(self) -> list[Link]:
        return [Link(self._first_step)] if self._first_step else []

    def _links_outside_a_step(self) -> list[Link]:
        """Return the link that ties a span to its run where no parent does: what is saved after the last step."""
        has_parent = trace.get_current_span().get_span_context().is_valid
        return [] if has_parent else self._links()


def core_version() -> str:
    """Return the version of the installed core; empty where it runs from a bare source tree."""
    try:
        return version("ebpf-bot-core")
    except PackageNotFoundError:
        return ""


def sample(probes: Sequence[str]) -> list[str]:
    """Return the first 10 of many names, at most 256 characters of each: an attribute never holds thousands."""
    return [
        _encodable(name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…")
        for name in probes[:_SAMPLE]
    ]


def totals_json(coverage: CoverageMap) -> str:
    """Return the totals of a map as a JSON object, verdict to count."""
    return json.dumps({verdict.label: count for verdict, count in coverage.totals.items()})


@contextmanager
def _marking(span: Span) -> Iterator[None]:
    """Mark the span with an exception that ends it. No event: the exception is logged where it is dealt with."""
    try:
        yield
    except Exception as error:
        span.set_attribute(names.ERROR_TYPE, _error_type(error))
        span.set_status(Status(StatusCode.ERROR, _encodable(str(error)[:_DESCRIPTION_LENGTH])))
        raise


def _of_plugin(plugin: str) -> dict[str, AttributeValue]:
    return {names.PLUGIN_NAME: plugin} if plugin else {}


def _encodable(text: str) -> str:
    """Escape lone surrogates, which paths and symbols that are no UTF-8 hold: they would cost the whole batch."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _error_type(error: Exception) -> str:
    """Return the class of an exception, or of the one that a stage raised where this is only the blame for it."""
    cause = error.__cause__ if isinstance(error, StageError) and error.__cause__ else error
    return type(cause).__qualname__


def _counter(meter: metrics.Meter, metric: names.Metric) -> metrics.Counter:
    return meter.create_counter(metric.name, unit=metric.unit, description=metric.description)


def _gauge(meter: metrics.Meter, metric: names.Metric) -> metrics._Gauge:
    return meter.create_gauge(metric.name, unit=metric.unit, description=metric.description)
