"""Databases of versions that knew no costs."""

import sqlite3

import pytest
from ebpf_bot_sqlite.options import SqliteOptions
from ebpf_bot_sqlite.store import SqliteStore

from ebpf_bot_core import Evidence
from ebpf_bot_core.testing import sample_batch, sample_evidence, sample_probes, sample_run


@pytest.fixture
def old(tmp_path):
    """A store as it was before there were costs."""
    path = tmp_path / "old.db"
    with_costs = _store(path)
    table = sample_probes()
    with_costs.save(sample_run(), sample_batch(table), sample_evidence(table))
    with_costs.close()
    connection = sqlite3.connect(path)
    for view in ("gaps", "coverage", "run_totals"):
        connection.execute(f"DROP VIEW {view}")
    connection.execute("ALTER TABLE evidence DROP COLUMN cost_ns")
    connection.execute("ALTER TABLE runs DROP COLUMN overhead_ratio")
    connection.execute("CREATE VIEW coverage AS SELECT 'old' AS probe")
    connection.commit()
    connection.close()
    return path


def _store(path):
    return SqliteStore(SqliteOptions(path=str(path)))


def test_it_is_read_with_no_costs(old):
    store = _store(old)
    (run,) = store.runs()
    assert run.overhead_ratio is None
    evidence = store.evidence(run.id)
    assert evidence.columns["cost_ns"].tolist() == [0] * len(evidence)
    assert evidence.fired.any()
    store.close()


def test_writing_to_it_adds_what_is_missing_and_keeps_the_rest(old):
    store, table = _store(old), sample_probes()
    before: Evidence = store.evidence(sample_run().id)
    store.save(sample_run(1), sample_batch(table), sample_evidence(table))
    assert store.evidence(sample_run().id) == before
    assert store.evidence(sample_run(1).id).columns["cost_ns"].any()
    assert [run.overhead_ratio for run in store.runs()] == [None, sample_run(1).overhead_ratio]
    store.close()
    with sqlite3.connect(old) as connection:
        assert connection.execute("SELECT sum(cost_seconds) FROM coverage").fetchone()[0] > 0
