"""How records are laid out in a directory: which segments there are, and what a line says to other programs."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ebpf_bot_file import FileOptions, FileStore
from ebpf_bot_file.segments import Segment, find_segments, stem_of

from ebpf_bot_core import SIGNAL_DTYPE, Evidence, Run, SignalBatch, StoreError
from ebpf_bot_core.testing import sample_batch, sample_evidence, sample_probes, sample_run

PROBES = sample_probes()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


def open_store(directory: Path, **options: Any) -> FileStore:
    return FileStore(FileOptions(path=str(directory), **options))


def save(store: FileStore, run: Run, size: int = 5) -> None:
    store.save(run, sample_batch(PROBES, size), sample_evidence(PROBES))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_run_grows_one_segment_until_it_is_full(directory: Path) -> None:
    store = open_store(directory, segment_bytes=5_000)
    for _ in range(8):
        save(store, sample_run(id="run"))
    sizes = [path.stat().st_size for path in find_segments(directory)["run"]]
    assert len(sizes) > 1
    assert all(size <= 5_000 for size in sizes)
    assert sum(len(batch) for batch in store.signals("run")) == 8 * 5


def test_a_record_is_never_split(directory: Path) -> None:
    store = open_store(directory, segment_bytes=1)
    for _ in range(3):
        save(store, sample_run(id="run"))
    assert names(directory) == ["run.000001.jsonl", "run.000002.jsonl", "run.000003.jsonl"]


def test_each_writer_has_its_own_segment(directory: Path) -> None:
    first, second = open_store(directory), open_store(directory)
    for store in (first, second, first):
        save(store, sample_run(id="run"))
    assert names(directory) == ["run.000001.jsonl", "run.000002.jsonl"]


def test_each_run_has_its_own_segments(directory: Path) -> None:
    store = open_store(directory)
    for number in (1, 2):
        save(store, sample_run(number, id=f"run-{number}"))
    assert names(directory) == ["run-1.000001.jsonl", "run-2.000001.jsonl"]


def test_the_order_of_segments_is_that_of_their_numbers(directory: Path) -> None:
    """Also when there are more than the digits in a name allow for."""
    directory.mkdir()
    for number in (2, 1_000_000, 999_999):
        (directory / f"run.{number:06}.jsonl").touch()
    assert [path.name for path in find_segments(directory)["run"]] == [
        "run.000002.jsonl",
        "run.999999.jsonl",
        "run.1000000.jsonl",
    ]
    assert Segment.create(directory, "run").path.name == "run.1000001.jsonl"


@pytest.mark.parametrize("run_id", ["../outside", "a/b", ".", "A", "x" * 300, "nul\0", "caf\udce9", " "])
def test_an_id_that_is_no_file_name_gets_a_digest(directory: Path, run_id: str) -> None:
    assert stem_of(run_id).startswith("sha256.")
    store = open_store(directory)
    save(store, sample_run(id=run_id))
    assert [run.id for run in store.runs()] == [run_id]
    assert list(directory.parent.iterdir()) == [directory]


def test_other_files_in_the_directory_are_left_alone(directory: Path) -> None:
    directory.mkdir()
    (directory / "notes.jsonl").write_text("mine\n")
    store = open_store(directory)
    with pytest.raises(StoreError, match="no store at"):
        store.runs()
    save(store, sample_run())
    assert len(store.runs()) == 1
    assert (directory / "notes.jsonl").read_text() == "mine\n"


def test_a_line_is_json_with_a_checksum_of_the_very_bytes(directory: Path) -> None:
    save(open_store(directory), sample_run(id="run"))
    (line,) = (directory / "run.000001.jsonl").read_bytes().splitlines()
    outer = json.loads(line)
    text = line[line.index(b'"record":') + len('"record":') : -1]
    assert list(outer) == ["crc32", "record"]
    assert outer["crc32"] == f"{zlib.crc32(text):08x}"
    assert json.loads(text) == outer["record"]


def test_a_record_can_be_read_by_other_programs(directory: Path) -> None:
    """The layout that the README shows; each record stands alone."""
    dtype = np.dtype([*SIGNAL_DTYPE.descr, ("latency", "<f8"), ("file", "S8"), ("stack", "<u8", (2,))])
    records = np.zeros(2, dtype)
    records["time"], records["count"], records["probe"], records["comm"] = (
        [5, 6],
        [1, 2**64 - 1],
        2,
        b"gz\xffip\\",
    )
    records["latency"], records["file"], records["stack"] = [0.5, np.inf], b"/etc", [[1, 2], [3, 4]]
    store = open_store(directory)
    store.save(sample_run(id="run"), SignalBatch(PROBES, records), sample_evidence(PROBES, signals_lost=4))
    record = json.loads((directory / "run.000001.jsonl").read_bytes())["record"]
    assert record["schema"] == "ebpf-bot/record/1"
    assert record["run"]["command"] == ["gzip", "-9", "a file"]
    assert record["run"]["host"]["kernel"] == "6.18.44"
    assert record["evidence"]["probes"] == list(PROBES)
    assert record["evidence"]["verdict"] == ["fired", "silent", "fired", "silent"]
    assert record["evidence"]["reason"] == ["", "not-called", "", "not-called"]
    assert record["evidence"]["signals_lost"] == 4
    assert record["signals"] == {
        "probes": [PROBES[2]],
        "time": [5, 6],
        "count": [1, 2**64 - 1],
        "pid": [0, 0],
        "tid": [0, 0],
        "cpu": [0, 0],
        "probe": [0, 0],
        "comm": ["gz\\xffip\\\\"] * 2,
        "extra": {
            "latency": {"type": "<f8", "shape": [], "values": [0.5, "inf"]},
            "file": {"type": "|S8", "shape": [], "values": ["/etc", "/etc"]},
            "stack": {"type": "<u8", "shape": [2], "values": [[1, 2], [3, 4]]},
        },
    }


def test_a_record_without_signals_says_so(directory: Path) -> None:
    store = open_store(directory)
    store.save(sample_run(id="run"), SignalBatch.empty(PROBES), Evidence.pending(PROBES))
    assert json.loads((directory / "run.000001.jsonl").read_bytes())["record"]["signals"] is None
    assert list(store.signals("run")) == []


def test_reading_needs_memory_for_one_record(directory: Path) -> None:
    store = open_store(directory, segment_bytes=300_000)
    peaks = []
    for more in (5, 45):
        for _ in range(more):
            save(store, sample_run(id="run"), 1_000)
        tracemalloc.start()
        assert sum(1 for _ in store.signals("run"))
        store.evidence("run")
        store.runs()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_many_small_records_are_joined_quickly_and_rightly(directory: Path) -> None:
    """A run of many steps: each record is about another probe of a large table."""
    probes = sample_probes(500)
    whole, store = sample_evidence(probes), open_store(directory)
    for row in range(len(probes)):
        store.save(sample_run(id="run"), SignalBatch.empty(probes), whole.take(np.array([row])))
    assert store.evidence("run") == whole


@pytest.mark.parametrize("kind", ["<c16", "O", "<M8[ns]", [("x", "<u4")]])
def test_a_field_that_json_cannot_keep_is_refused(directory: Path, kind: Any) -> None:
    records = np.zeros(1, np.dtype([*SIGNAL_DTYPE.descr, ("odd", kind)]))
    store = open_store(directory)
    with pytest.raises(StoreError, match="cannot keep the signal field 'odd'"):
        store.save(sample_run(), SignalBatch(PROBES, records), sample_evidence(PROBES))
    assert not directory.exists()


def test_a_signal_of_no_probe_is_refused(directory: Path) -> None:
    batch = sample_batch(PROBES)
    batch.records["probe"][3] = len(PROBES)
    with pytest.raises(StoreError, match="row 4 of a table of 4 probes"):
        open_store(directory).save(sample_run(), batch, sample_evidence(PROBES))
    assert not directory.exists()


def test_a_number_beyond_64_bits_is_refused(directory: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written as JSON"):
        save(open_store(directory), sample_run(steps=2**64))
    assert not directory.exists()
