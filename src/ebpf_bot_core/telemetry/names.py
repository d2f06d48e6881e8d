"""Every name that this project emits: spans, events, attributes, metrics and what logs carry. Nothing else spells one."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = [
    "ATTRIBUTES",
    "EVENTS",
    "EVENT_ATTRIBUTES",
    "LOG_ATTRIBUTES",
    "METRICS",
    "SCOPE",
    "SERVICE_NAME",
    "SPANS",
    "SPAN_ATTRIBUTES",
    "Metric",
]

SCOPE: Final = "ebpf_bot_core"
"""The instrumentation scope."""
SERVICE_NAME: Final = "ebpf-coverage-bot"
"""`service.name` unless `OTEL_SERVICE_NAME` says otherwise."""

# Spans.
STEP: Final = "unified_pipeline_decision"
GET_COVERAGE: Final = "get_coverage"
DECIDE: Final = "decide_next_probe"
INJECT: Final = "inject_probe"
RECEIVE: Final = "receive_signal"
PROCESS: Final = "process_signal"
STORE_SAVE: Final = "store_save_signal"
STORE_LOAD: Final = "store_load_signal"
SPANS: Final = {
    STEP: "one step of the loop, and the parent of what its stages do. What comes after a run's first step links to it",
    GET_COVERAGE: "reading the coverage map",
    DECIDE: "choosing the probes to attach and to take off",
    INJECT: "attaching and detaching what was decided",
    RECEIVE: "collecting what has fired",
    PROCESS: "one processor's work on a batch",
    STORE_SAVE: "one acknowledged record",
    STORE_LOAD: "reading evidence or signals back",
}
"""Span name to what it covers."""

# Span events.
COVERAGE_RECEIVED: Final = "coverage_received"
DECISION_MADE: Final = "decision_made"
FETCHING_COVERAGE_MAP: Final = "fetching_coverage_map"
PROBE_DECIDED: Final = "probe_decided"
EVENTS: Final = {
    COVERAGE_RECEIVED: STEP,
    DECISION_MADE: STEP,
    FETCHING_COVERAGE_MAP: GET_COVERAGE,
    PROBE_DECIDED: DECIDE,
}
"""Event name to the span that it is on."""

# Attributes of spans, and of metrics where the metric names them.
PIPELINE_COVERAGE_SIGNALS: Final = "pipeline.coverage_signals"
PIPELINE_COVERAGE_COUNT: Final = "pipeline.coverage_count"
PIPELINE_NEXT_PROBE: Final = "pipeline.next_probe"
EXPECTED_SIGNALS: Final = "coverage_bot.expected_signals"
EXPECTED_COUNT: Final = "coverage_bot.expected_count"
STRATEGY: Final = "orchestrator.strategy"
COVERAGE_MAP: Final = "orchestrator.coverage_map"
CHOSEN_PROBE: Final = "orchestrator.chosen_probe"
DECISION_REASON: Final = "orchestrator.reason"
DECISION_SEED: Final = "orchestrator.seed"
RUN_ID: Final = "ebpf_bot.run.id"
STEP_NUMBER: Final = "ebpf_bot.step"
PLUGIN_NAME: Final = "ebpf_bot.plugin.name"
STAGE: Final = "ebpf_bot.stage"
VERDICT: Final = "ebpf_bot.verdict"
REASON: Final = "ebpf_bot.reason"
PROBES_ATTACHED: Final = "ebpf_bot.probes.attached"
PROBES_DETACHED: Final = "ebpf_bot.probes.detached"
PROBES_REFUSED: Final = "ebpf_bot.probes.refused"
SIGNALS: Final = "ebpf_bot.signals"
SIGNALS_LOST: Final = "ebpf_bot.signals.lost"
EVIDENCE_ROWS: Final = "ebpf_bot.evidence.rows"
ERROR_TYPE: Final = "error.type"
ATTRIBUTES: Final = {
    PIPELINE_COVERAGE_SIGNALS: "a sample of at most 10 probes that have fired",
    PIPELINE_COVERAGE_COUNT: "how many probes have fired",
    PIPELINE_NEXT_PROBE: "the gap to close next; empty if none is left",
    EXPECTED_SIGNALS: "a sample of at most 10 expected probes",
    EXPECTED_COUNT: "how many probes are expected",
    STRATEGY: "the policy that scored",
    COVERAGE_MAP: "a JSON object: how many probes stand on each verdict",
    CHOSEN_PROBE: "the best candidate; empty if none is left",
    DECISION_REASON: "why it was decided so, one sentence",
    DECISION_SEED: "the seed that replays the decision",
    RUN_ID: "the id of the run, as in the store",
    STEP_NUMBER: "the number of the step, from 1",
    PLUGIN_NAME: "the plugin that served the stage",
    STAGE: "what failed: the name of the stage's span; for an observer the event, such as `step_finished`",
    VERDICT: "a rung of the ladder of verdicts",
    REASON: "the code of the reason for a verdict; left out where there is none",
    PROBES_ATTACHED: "how many probes were attached",
    PROBES_DETACHED: "how many probes were taken off",
    PROBES_REFUSED: "how many probes could not be attached",
    SIGNALS: "how often probes fired",
    SIGNALS_LOST: "how many signals were lost, as far as the backend knows",
    EVIDENCE_ROWS: "how many rows of evidence were saved or loaded",
    ERROR_TYPE: "the class of the exception that ended the span or was counted",
}
"""Attribute name to what it says."""

SPAN_ATTRIBUTES: Final = {
    STEP: (RUN_ID, STEP_NUMBER, PIPELINE_COVERAGE_SIGNALS, PIPELINE_COVERAGE_COUNT, PIPELINE_NEXT_PROBE),
    GET_COVERAGE: (EXPECTED_SIGNALS, EXPECTED_COUNT),
    DECIDE: (PLUGIN_NAME, STRATEGY, COVERAGE_MAP, CHOSEN_PROBE, DECISION_REASON, DECISION_SEED),
    INJECT: (PLUGIN_NAME, PROBES_ATTACHED, PROBES_DETACHED, PROBES_REFUSED),
    RECEIVE: (PLUGIN_NAME, SIGNALS, SIGNALS_LOST),
    PROCESS: (PLUGIN_NAME, SIGNALS),
    STORE_SAVE: (PLUGIN_NAME, RUN_ID, SIGNALS, EVIDENCE_ROWS),
    STORE_LOAD: (PLUGIN_NAME, RUN_ID, SIGNALS, EVIDENCE_ROWS),
}
"""Span name to the attributes that it may carry; where it failed, `error.type` comes on top.

`store_load_signal` has one of its two counts: rows where evidence was read, signals where signals were.
"""

EVENT_ATTRIBUTES: Final = {
    COVERAGE_RECEIVED: (),
    DECISION_MADE: (PIPELINE_NEXT_PROBE,),
    FETCHING_COVERAGE_MAP: (),
    PROBE_DECIDED: (CHOSEN_PROBE,),
}
"""Event name to the attributes that it carries."""

# What log records made inside a span carry, beside the message.
TRACE_ID: Final = "trace_id"
SPAN_ID: Final = "span_id"
LOG_ATTRIBUTES: Final = {
    TRACE_ID: "32 hex digits; exported records have it in their own field instead",
    SPAN_ID: "16 hex digits; likewise",
}
"""Name of a `logging` record's extra field to what it says."""


@attrs.frozen
class Metric:
    """One metric.

    Attributes:
        kind: `counter`, `histogram` or `gauge`.
        unit: UCUM. All are annotations in braces: a translation to Prometheus then appends nothing to the name.
        attributes: the attributes that its points may carry.
    """

    name: str
    kind: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()


DECISIONS: Final = Metric("ebpf_bot_decisions_total", "counter", "{decision}", "Decisions made", (STRATEGY,))
DECISION_LATENCY: Final = Metric(
    "ebpf_bot_decision_latency_ms",
    "histogram",
    "{ms}",
    "Time from reading the coverage map to the decision, in milliseconds",
    (STRATEGY,),
)
ERRORS: Final = Metric(
    "ebpf_bot_errors_total", "counter", "{error}", "Errors of stages and observers", (ERROR_TYPE, STAGE)
)
COVERAGE_RATIO: Final = Metric(
    "ebpf_bot_coverage_ratio", "gauge", "{ratio}", "Fired probes / (expected - excluded), from 0 to 1"
)
PROBES: Final = Metric(
    "ebpf_bot_probes", "gauge", "{probe}", "Probes on each verdict, for each reason", (VERDICT, REASON)
)
SIGNALS_TOTAL: Final = Metric("ebpf_bot_signals_total", "counter", "{signal}", "How often probes fired")
SIGNALS_LOST_TOTAL: Final = Metric(
    "ebpf_bot_signals_lost_total", "counter", "{signal}", "Signals lost, as far as the backend knows"
)
OVERHEAD_RATIO: Final = Metric(
    "ebpf_bot_overhead_ratio",
    "gauge",
    "{ratio}",
    "Estimated share of one CPU that the probes cost their targets; only where the backend estimates it",
)
METRICS: Final = {
    metric.name: metric
    for metric in (
        DECISIONS,
        DECISION_LATENCY,
        ERRORS,
        COVERAGE_RATIO,
        PROBES,
        SIGNALS_TOTAL,
        SIGNALS_LOST_TOTAL,
        OVERHEAD_RATIO,
    )
}
"""Metric name to the metric."""

LATENCY_BOUNDARIES_MS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0)
"""The buckets of `DECISION_LATENCY`. Ten probes are decided on in well under 1 ms, 100,000 in some 10 ms."""
