"""One record as JSON: the run, its evidence and its signals, the last two in columns.

    {"schema": "ebpf-bot/record/1",
     "run": {"id": "...", "host": {...}, "command": [...], ...},
     "evidence": {"signals_lost": 0, "probes": ["kprobe:a", ...], "verdict": ["fired", ...], "reason": [...],
                  "detail": [...], "hits": [...], "first_fired": [...], ...},
     "signals": {"probes": ["kprobe:a", ...], "time": [...], "count": [...], "probe": [0, ...], "pid": [...],
                 "tid": [...], "cpu": [...], "comm": [...], "extra": {},
                 "payloads": [{"signals": [0, ...], "fields": {"filename": {...}}}]}}

`signals.probe` counts within `signals.probes`, so a record can be read without any other. Without signals `signals` is
null; without payloads `signals.payloads` is not there. Times are ns since the Unix epoch; all text is as in `ebpf_bot_core.escape_bytes`.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import numpy as np
import orjson
from numpy.typing import NDArray

from ebpf_bot_core import (
    EVIDENCE_DTYPE,
    SIGNAL_DTYPE,
    Evidence,
    Host,
    Mode,
    ProbeTable,
    Reason,
    Run,
    Scope,
    SignalBatch,
    StoreError,
    Verdict,
    escape_bytes,
    escape_string,
    unescape_bytes,
    unescape_string,
)
from ebpf_bot_file.appended import dtype_of, from_plain, to_plain
from ebpf_bot_file.payloads import payloads_from_plain, payloads_to_plain

__all__ = ["MALFORMED", "Record", "encode"]

MALFORMED: Final = (AttributeError, KeyError, IndexError, OverflowError, TypeError, ValueError)
"""What reading a text that is no record of ours may raise."""

SCHEMA: Final = "ebpf-bot/record/1"

_LABELS: Final = {int(verdict): verdict.label for verdict in Verdict}
_CODES: Final = {int(reason): reason.code for reason in Reason}
_VERDICTS: Final = {label: number for number, label in _LABELS.items()}
_REASONS: Final = {code: number for number, code in _CODES.items()}
_COUNTED: Final = ("hits", "first_fired", "last_fired", "live_ns", "opportunities", "cost_ns")
_LATER: Final = ("cost_ns",)
"""Those that records of earlier versions do not have; they are read as zeros."""
_INTEGERS: Final = ("time", "count", "pid", "tid", "cpu")


def encode(run: Run, signals: SignalBatch, evidence: Evidence) -> bytes:
    """Return the JSON text of a record, without line breaks.

    Raises:
        StoreError: a value does not fit into 64 bits, or a signal names no probe of its table.
    """
    record = {
        "schema": SCHEMA,
        "run": _run_to_plain(run),
        "evidence": _evidence_to_plain(evidence),
        "signals": _signals_to_plain(signals) if len(signals) else None,
    }
    try:
        return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise StoreError(
            f"the record of run {run.id!r} cannot be written as JSON: {error}",
            hint="this is a defect of the stage that made it",
        ) from error


@attrs.frozen
class Record:
    """A record as it was read; its parts are made only when they are asked for."""

    plain: dict[str, Any]

    @classmethod
    def parse(cls, text: bytes | memoryview) -> Record:
        """Read a record.

        Raises:
            StoreError: it was written in a newer format.
            ValueError: it is no record; more of `MALFORMED` may come of its parts.
        """
        plain = orjson.loads(text)
        if not isinstance(plain, dict) or not str(plain.get("schema")).startswith("ebpf-bot/record/"):
            raise ValueError("not a record")
        if plain["schema"] != SCHEMA:
            raise StoreError(
                f"a record has the format {plain['schema']}, and this version knows {SCHEMA}",
                hint="upgrade ebpf-bot-file",
            )
        return cls(plain)

    @property
    def run(self) -> Run:
        """The run; one of `MALFORMED` if it makes no sense, as for the other parts."""
        plain = self.plain["run"]
        text = {name: unescape_string(plain[name]) for name in _TEXTS}
        return Run(
            id=text["id"],
            backend=text["backend"],
            plan_name=text["plan_name"],
            plan_digest=text["plan_digest"],
            host=Host(**{name: unescape_string(value) for name, value in plain["host"].items()}),
            mode=Mode(plain["mode"]),
            scope=Scope(plain["scope"]),
            started=text["started"],
            seconds=plain["seconds"],
            steps=plain["steps"],
            command=tuple(unescape_string(argument) for argument in plain["command"]),
            exit_status=plain["exit_status"],
            finished=plain["finished"],
            trace_id=text["trace_id"],
            overhead_ratio=plain.get("overhead_ratio"),
        )

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return unescape_string(self.plain["run"]["id"])

    @property
    def evidence(self) -> Evidence:
        """The evidence."""
        plain = self.plain["evidence"]
        columns = np.zeros(len(plain["probes"]), EVIDENCE_DTYPE)
        columns["verdict"] = [_VERDICTS[label] for label in plain["verdict"]]
        columns["reason"] = [_REASONS[code] for code in plain["reason"]]
        for name in _COUNTED:
            if name in plain or name not in _LATER:
                columns[name] = np.array(plain[name], EVIDENCE_DTYPE[name])
        details = {i: unescape_string(text) for i, text in enumerate(plain["detail"]) if text}
        return Evidence(_table(plain["probes"]), columns, details, plain["signals_lost"])

    @property
    def signals(self) -> SignalBatch | None:
        """The signals, or None if the record has none."""
        plain = self.plain["signals"]
        if plain is None:
            return None
        records: NDArray[np.void] = np.zeros(
            len(plain["time"]), [*SIGNAL_DTYPE.descr, *dtype_of(plain["extra"])]
        )
        for name in (*_INTEGERS, "probe"):
            records[name] = np.array(plain[name], SIGNAL_DTYPE[name])
        names = {text: unescape_bytes(text) for text in set(plain["comm"])}
        records["comm"] = [names[text] for text in plain["comm"]]
        from_plain(plain["extra"], records)
        if records["probe"].max() >= len(plain["probes"]):
            raise ValueError("a signal names no probe of its record")
        table = _table(plain["probes"])
        records, layouts = payloads_from_plain(plain.get("payloads", []), records, len(table))
        return SignalBatch(table, records, layouts=layouts)


_TEXTS: Final = ("id", "backend", "plan_name", "plan_digest", "started", "trace_id")


def _run_to_plain(run: Run) -> dict[str, Any]:
    plain = attrs.asdict(run)
    for name in _TEXTS:
        plain[name] = escape_string(plain[name])
    plain["host"] = {name: escape_string(text) for name, text in plain["host"].items()}
    plain["command"] = [escape_string(text) for text in run.command]
    return plain


def _evidence_to_plain(evidence: Evidence) -> dict[str, Any]:
    columns = evidence.columns
    return {
        "signals_lost": evidence.signals_lost,
        "probes": [escape_string(name) for name in evidence.probes],
        "verdict": [_LABELS[number] for number in columns["verdict"].tolist()],
        "reason": [_CODES[number] for number in columns["reason"].tolist()],
        "detail": [escape_string(evidence.details.get(row, "")) for row in range(len(columns))],
        **{name: np.ascontiguousarray(columns[name]) for name in _COUNTED},
    }


def _signals_to_plain(signals: SignalBatch) -> dict[str, Any]:
    records = signals.records
    used = np.zeros(len(signals.probes), np.bool_)
    try:
        used[records["probe"]] = True
    except IndexError as error:
        raise StoreError(
            f"a signal names row {records['probe'].max()} of a table of {len(used)} probes",
            hint="this is a defect of the receiver or of a processor",
        ) from error
    # Few probes fire in one step, so the record names only these and counts among them.
    place = np.cumsum(used) - 1
    comms = records["comm"].tolist()
    texts = {raw: escape_bytes(raw) for raw in set(comms)}
    payloads = payloads_to_plain(signals)
    return {
        "probes": [escape_string(signals.probes[row]) for row in np.flatnonzero(used).tolist()],
        **{name: np.ascontiguousarray(records[name]) for name in _INTEGERS},
        "probe": place[records["probe"]],
        "comm": [texts[raw] for raw in comms],
        "extra": to_plain(records, signals.appended),
        **({"payloads": payloads} if payloads else {}),
    }


def _table(texts: list[str]) -> ProbeTable:
    return ProbeTable(tuple(unescape_string(text) for text in texts))
