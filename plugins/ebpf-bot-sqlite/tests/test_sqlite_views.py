"""The documented views say in SQL what Evidence.fold says in Python."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ebpf_bot_sqlite import SqliteOptions, SqliteStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_bot_core import SIGNAL_DTYPE, Evidence, Reason, SignalBatch, Verdict
from ebpf_bot_core.testing import evidence, sample_batch, sample_evidence, sample_probes, sample_run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def save(path: Path, *records: tuple[Any, SignalBatch, Evidence]) -> None:
    with closing(SqliteStore(SqliteOptions(path=str(path)))) as store:
        for record in records:
            store.save(*record)


def query(path: Path, sql: str) -> list[dict[str, Any]]:
    """Ask as the sqlite3 shell would: without a line of our code."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


@given(runs=st.lists(evidence(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_coverage_is_the_fold_of_all_runs(
    tmp_path_factory: pytest.TempPathFactory, runs: list[Evidence]
) -> None:
    path = tmp_path_factory.mktemp("views") / "store.db"
    save(path, *((sample_run(i), SignalBatch.empty(run.probes), run) for i, run in enumerate(runs)))
    expected = {
        row.probe.replace("\\", "\\\\"): (
            row.verdict.label,
            row.reason.code,
            row.detail.replace("\\", "\\\\"),
            row.hits,
            row.opportunities,
            pytest.approx(row.live_seconds),
            row.first_fired is None,
        )
        for row in Evidence.fold(runs)
    }
    shown = {
        row["probe"]: (
            row["verdict"],
            row["reason"],
            row["detail"],
            row["hits"],
            row["opportunities"],
            row["live_seconds"],
            row["first_fired"] is None,
        )
        for row in query(path, "SELECT * FROM coverage")
    }
    assert shown == expected


def stated(*rows: tuple[str, Verdict, Reason]) -> Evidence:
    return Evidence.stating([(probe, verdict, reason, "") for probe, verdict, reason in rows])


@pytest.fixture
def mixed(path: Path) -> Path:
    """One run with a probe of each kind, and one in which the silent one has fired."""
    found = stated(
        ("kprobe:silent", Verdict.SILENT, Reason.NOT_CALLED),
        ("kprobe:missing", Verdict.MISSING, Reason.NOT_FOUND),
        ("kprobe:excluded", Verdict.EXCLUDED, Reason.IMPORTED),
        ("kprobe:refused", Verdict.REFUSED, Reason.PERMISSION),
    )
    fired = sample_evidence(sample_probes(1), hits=3, signals_lost=2)
    probes = fired.probes
    save(
        path,
        (sample_run(1), SignalBatch.empty(probes), found.join(fired)),
        (sample_run(2), sample_batch(probes, 5), fired),
    )
    return path


def test_gaps_are_what_could_fire_and_did_not_with_advice(mixed: Path) -> None:
    gaps = {row["probe"]: row for row in query(mixed, "SELECT * FROM gaps")}
    assert set(gaps) == {"kprobe:silent", "kprobe:missing", "kprobe:refused"}
    assert gaps["kprobe:missing"]["reason"] == "not-found"
    assert gaps["kprobe:missing"]["hint"] == Reason.NOT_FOUND.hint


def test_run_totals_count_verdicts(mixed: Path) -> None:
    first, second = query(mixed, "SELECT * FROM run_totals")
    assert first["run"] == sample_run(1).id
    assert {
        name: first[name] for name in ("expected", "fired", "silent", "missing", "refused", "excluded")
    } == {
        "expected": 5,
        "fired": 1,
        "silent": 1,
        "missing": 1,
        "refused": 1,
        "excluded": 1,
    }
    assert first["ratio"] == pytest.approx(1 / 4)
    assert (first["signals"], first["signals_lost"], first["hits"]) == (0, 2, 3)
    assert (second["signals"], second["ratio"]) == (5, 1.0)


def test_a_run_without_evidence_has_no_ratio(path: Path) -> None:
    nothing = Evidence.pending(sample_probes(0))
    save(path, (sample_run(), SignalBatch.empty(nothing.probes), nothing))
    (row,) = query(path, "SELECT * FROM run_totals")
    assert (row["expected"], row["ratio"]) == (0, None)


def test_signal_log_names_runs_probes_and_times(mixed: Path) -> None:
    rows = query(mixed, "SELECT * FROM signal_log ORDER BY time")
    assert [row["run"] for row in rows] == [sample_run(2).id] * 5
    assert {row["probe"] for row in rows} == set(sample_probes(1))
    assert rows[0]["at"].startswith("2026-01-01T00:00:00.0")
    assert {row["comm"] for row in rows} == {"gzip", "kworker/0:1-mm_"}


def test_appended_fields_can_be_queried_as_json(path: Path) -> None:
    probes = sample_probes()
    records = np.zeros(2, np.dtype([*SIGNAL_DTYPE.descr, ("latency", "<u8"), ("file", "S8")]))
    records["latency"], records["file"] = [12, 7], [b"/etc", b"/\xff"]
    save(path, (sample_run(), SignalBatch(probes, records), sample_evidence(probes)))
    rows = query(path, "SELECT extra ->> 'latency' AS latency, extra ->> 'file' AS file FROM signal_log")
    assert [tuple(row.values()) for row in rows] == [(12, "/etc"), (7, "/\\xff")]
    (fields,) = query(path, "SELECT fields FROM batches")
    assert json.loads(fields["fields"]) == [["latency", "<u8", []], ["file", "|S8", []]]


def test_words_are_those_of_the_core(mixed: Path) -> None:
    verdicts = {row["number"]: row["word"] for row in query(mixed, "SELECT * FROM verdicts")}
    assert verdicts == {int(verdict): verdict.label for verdict in Verdict}
    reasons = {row["number"]: (row["word"], row["hint"]) for row in query(mixed, "SELECT * FROM reasons")}
    assert reasons == {int(reason): (reason.code, reason.hint) for reason in Reason}


def test_every_view_is_documented() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    with closing(sqlite3.connect(":memory:")) as connection:
        schema = Path(__file__).parents[1] / "src/ebpf_bot_sqlite/schema.sql"
        connection.executescript(schema.read_text(encoding="utf-8"))
        views = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'view'").fetchall()
    assert len(views) == 4
    assert [name for (name,) in views if f"`{name}`" not in readme] == []
