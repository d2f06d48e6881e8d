"""What is in the file's place, and who else uses it: the store says so clearly, and never harms it."""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ebpf_bot_sqlite import SqliteOptions, SqliteStore
from ebpf_bot_sqlite import connection as connection_module
from ebpf_bot_sqlite.schema import APPLICATION_ID, VERSION

from ebpf_bot_core import SIGNAL_DTYPE, Evidence, SignalBatch, StoreError
from ebpf_bot_core.testing import (
    in_children,
    plain_signals,
    sample_batch,
    sample_evidence,
    sample_probes,
    sample_run,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> SqliteStore:
    return SqliteStore(SqliteOptions(path=str(path)))


def save(store: SqliteStore, number: int = 0) -> None:
    probes = sample_probes()
    store.save(sample_run(number), sample_batch(probes, 2000), sample_evidence(probes))


def test_the_database_of_another_program_is_left_alone(path: Path, store: SqliteStore) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (x)")
        other.commit()
    before = path.read_bytes()
    for use in (store.runs, functools.partial(save, store)):
        with pytest.raises(StoreError, match="database of another program") as caught:
            use()
        assert "left alone" in caught.value.hint
    assert path.read_bytes() == before


def test_a_newer_format_is_not_guessed_at(path: Path, store: SqliteStore) -> None:
    save(store)
    store.close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    for use in (store.runs, functools.partial(save, store)):
        with pytest.raises(StoreError, match=f"has format {VERSION + 1}") as caught:
            use()
        assert "upgrade ebpf-bot-sqlite" in caught.value.hint


def test_the_file_tells_whose_it_is(path: Path, store: SqliteStore) -> None:
    save(store)
    store.close()
    assert path.read_bytes()[68:72] == APPLICATION_ID.to_bytes(4, "big") == b"eBot"


def test_an_empty_file_is_no_store_yet(path: Path, store: SqliteStore) -> None:
    path.touch()
    with pytest.raises(StoreError, match="no store at"):
        store.runs()
    save(store)
    assert len(store.runs()) == 1


def test_a_damaged_database_is_an_error(path: Path, store: SqliteStore) -> None:
    save(store)
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreError, match="the database is damaged") as caught:
        store.evidence(sample_run().id)
    assert ".recover" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE runs SET mode = 'telepathy'",
        "UPDATE evidence SET verdict = 300",
        "UPDATE runs SET command = '['",
    ],
)
def test_what_it_does_not_know_is_an_error(path: Path, store: SqliteStore, change: str) -> None:
    save(store)
    with closing(sqlite3.connect(path)) as hand:
        hand.execute(change)
        hand.commit()
    with pytest.raises(StoreError, match="something that this version does not know"):
        store.runs(), store.evidence(sample_run().id)


def test_a_truncated_database_is_an_error(path: Path, store: SqliteStore) -> None:
    save(store)
    store.close()
    path.write_bytes(path.read_bytes()[: 5 * 4096])
    with pytest.raises(StoreError, match="the database is damaged"):
        list(store.signals(sample_run().id))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_regular_file_is_not_opened(
    path: Path, store: SqliteStore, make: Callable[[Path], None]
) -> None:
    make(path)
    for use in (store.runs, functools.partial(save, store)):
        with pytest.raises(StoreError, match=r"it is (a directory|not a regular file)"):
            use()


def test_a_path_through_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SqliteStore(SqliteOptions(path=str(tmp_path / "file" / "store.db")))
    with pytest.raises(StoreError, match="Not a directory"):
        store.runs()


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a?b#c%41 \xff.db")
    with closing(SqliteStore(SqliteOptions(path=str(path)))) as store:
        save(store)
    assert path in tmp_path.iterdir()
    assert len(SqliteStore(SqliteOptions(path=str(path))).runs()) == 1


def test_a_relative_path_is_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(SqliteStore()) as store:
        save(store)
    assert [file.name for file in tmp_path.iterdir()] == [".ebpf-bot.db"]


def test_closing_leaves_one_file(path: Path, store: SqliteStore) -> None:
    """The write-ahead log and its index are gone, so that the database can be copied."""
    save(store)
    assert len(list(path.parent.iterdir())) == 3
    store.close()
    store.runs()
    store.close()
    assert list(path.parent.iterdir()) == [path]


def test_after_a_kill_the_next_use_tidies_up(path: Path, store: SqliteStore) -> None:
    child = os.fork()
    if child == 0:
        save(store)
        os._exit(0)  # without closing, as a kill would
    os.waitpid(child, 0)
    assert path.with_name("store.db-wal").stat().st_size > 0
    assert store.runs() == [sample_run()]
    store.close()
    assert list(path.parent.iterdir()) == [path]
    assert store.runs() == [sample_run()]


def test_reading_does_not_wait_for_a_writer(path: Path, store: SqliteStore) -> None:
    save(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE runs SET steps = 99")
        reader = SqliteStore(SqliteOptions(path=str(path)))
        assert reader.runs() == [sample_run()]
        assert reader.evidence(sample_run().id) == sample_evidence(sample_probes())
        assert sum(len(batch) for batch in reader.signals(sample_run().id)) == 2000
        reader.close()


def test_a_writer_does_not_wait_for_a_paused_reader(path: Path, store: SqliteStore) -> None:
    save(store)
    signals = SqliteStore(SqliteOptions(path=str(path))).signals(sample_run().id)
    next(signals)
    save(store, 1)
    assert list(signals) == []


def test_waiting_for_another_writer_ends(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "LOCK_SECONDS", 0.1)
    save(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process has kept it locked"):
            save(store, 1)
    save(store, 1)
    assert len(store.runs()) == 2


def test_many_processes_may_make_the_store_at_once(path: Path) -> None:
    """None takes what another has half made for something foreign."""

    def make(number: int) -> None:
        with closing(SqliteStore(SqliteOptions(path=str(path)))) as own:
            save(own, number)

    for round_number in range(5):
        path.unlink(missing_ok=True)
        in_children([functools.partial(make, number) for number in range(12)])
        with closing(SqliteStore(SqliteOptions(path=str(path)))) as store:
            assert len(store.runs()) == 12, f"in round {round_number}"


def test_a_batch_larger_than_a_chunk_comes_back(store: SqliteStore) -> None:
    probes = sample_probes()
    batch = sample_batch(probes, 150_001)
    store.save(sample_run(), batch, Evidence.pending(probes))
    pieces = list(store.signals(sample_run().id))
    assert len(pieces) > 1
    whole = SignalBatch.concat(pieces)
    assert plain_signals([whole]) == plain_signals([batch])


def test_a_count_beyond_63_bits_is_refused(store: SqliteStore) -> None:
    probes = sample_probes()
    known = sample_evidence(probes)
    known.columns["hits"][0] = 2**63
    with pytest.raises(StoreError, match="beyond 63 bits") as caught:
        store.save(sample_run(), sample_batch(probes), known)
    assert "`file`" in caught.value.hint
    assert store.runs() == []


@pytest.mark.parametrize("kind", ["<c16", "O", "<M8[ns]", [("x", "<u4")]])
def test_a_field_that_json_cannot_keep_is_refused(store: SqliteStore, kind: Any) -> None:
    records = np.zeros(1, np.dtype([*SIGNAL_DTYPE.descr, ("odd", kind)]))
    probes = sample_probes()
    with pytest.raises(StoreError, match="cannot keep the signal field 'odd'"):
        store.save(sample_run(), SignalBatch(probes, records), sample_evidence(probes))
    assert store.runs() == []


def test_a_signal_of_no_probe_is_refused(store: SqliteStore) -> None:
    probes = sample_probes()
    batch = sample_batch(probes)
    batch.records["probe"][3] = len(probes)
    with pytest.raises(StoreError, match="row 4 of a table of 4 probes"):
        store.save(sample_run(), batch, sample_evidence(probes))
    assert store.runs() == []


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 200])
@pytest.mark.parametrize("alike", [(), ("comm",), ("time", "probe", "tid"), SIGNAL_DTYPE.names])
def test_what_signals_have_in_common_comes_back_with_each_of_them(
    store: SqliteStore, path: Path, size: int, alike: tuple[str, ...]
) -> None:
    batch = sample_batch(sample_probes(3), size)
    for name in alike:
        batch.records[name] = batch.records[name][-1]
    with closing(store):
        store.save(sample_run(), batch, Evidence.pending(batch.probes))
        (read,) = store.signals(sample_run().id)
    assert plain_signals([read]) == plain_signals([batch])
    with closing(sqlite3.connect(path)) as connection:
        times = [time for (time,) in connection.execute("SELECT time FROM signals ORDER BY id")]
    assert times == batch.records["time"].tolist()
