"""A torn or damaged record is left out and reported; what was read is never something that was not saved."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from ebpf_bot_file import FileOptions, FileStore
from ebpf_bot_file.line import frame, unframe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_bot_core import Evidence, StoreError
from ebpf_bot_core.testing import plain_signals, sample_batch, sample_evidence, sample_probes, sample_run

RUN = sample_run(id="run")
PROBES = sample_probes()
RECORDS = 4


def save(directory: Path, count: int = RECORDS) -> Path:
    """Save records with 1, 2, 3… signals; return their segment."""
    store = FileStore(FileOptions(path=str(directory)))
    for number in range(1, count + 1):
        run = sample_run(id="run", steps=number)
        store.save(run, sample_batch(PROBES, number), sample_evidence(PROBES, hits=number))
    store.close()
    (segment,) = directory.iterdir()
    return segment


def sizes(directory: Path) -> list[int]:
    """Return how many signals each record that is left has: its number."""
    return [len(batch) for batch in FileStore(FileOptions(path=str(directory))).signals("run")]


@given(text=st.binary(max_size=60).filter(lambda text: b"\n" not in text), data=st.data())
@settings(deadline=None)
def test_any_changed_byte_is_noticed(text: bytes, data: st.DataObject) -> None:
    line = frame(text)
    assert bytes(unframe(line) or b"") == text
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    assert unframe(line[:at] + bytes([other]) + line[at + 1 :]) is None
    assert unframe(line[:at]) is None


@pytest.mark.parametrize("cut", [1, 2, 40, 300])
def test_a_torn_tail_is_cut_off_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    segment = save(tmp_path / "store")
    whole = segment.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    segment.write_bytes(whole[:-cut])
    store = FileStore(FileOptions(path=str(tmp_path / "store")))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert [run.steps for run in store.runs()] == [RECORDS - 1]
            assert store.evidence("run") == sample_evidence(PROBES, hits=RECORDS - 1)
            assert len(list(store.signals("run"))) == RECORDS - 1
    (warning,) = caplog.records
    assert warning.name == "ebpf_bot.store.file"
    assert (
        warning.getMessage()
        == f"{segment}: left out a torn tail of {len(whole) - cut - last} bytes at byte {last}"
    )


def test_a_torn_tail_does_not_stop_the_next_writer(tmp_path: Path) -> None:
    segment = save(tmp_path / "store")
    segment.write_bytes(segment.read_bytes()[:-10])
    FileStore(FileOptions(path=str(tmp_path / "store"))).save(
        RUN, sample_batch(PROBES, 9), Evidence.pending(PROBES)
    )
    assert sizes(tmp_path / "store") == [1, 2, 3, 9]


def test_a_damaged_record_in_the_middle_costs_only_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segment = save(tmp_path / "store")
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"hits":[2', b'"hits":[3')
    segment.write_bytes(b"".join(lines))
    assert sizes(tmp_path / "store") == [1, 3, 4]
    assert caplog.messages == [
        f"{segment}: left out a damaged record of {len(lines[1])} bytes at byte {len(lines[0])}"
    ]


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_damage_is_ever_misread(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever happens to the bytes, records that are read are whole ones that were saved, in their order."""
    directory = tmp_path_factory.mktemp("damage") / "store"
    segment = save(directory)
    raw = bytearray(segment.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "zero"]))
        if kind == "flip":
            raw[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del raw[at : at + data.draw(st.integers(1, 4000))]
        elif kind == "insert":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=5) | st.just(b"\n"))
        else:
            raw[at:] = bytes(len(raw) - at)
        if not raw:
            break
    segment.write_bytes(raw)
    store = FileStore(FileOptions(path=str(directory)))
    saved = {number: plain_signals([sample_batch(PROBES, number)]) for number in range(1, RECORDS + 1)}
    try:
        left = list(store.signals("run"))
    except StoreError as error:
        assert "no run 'run'" in error.message  # noqa: PT017 - it need not be raised
        left = []
    numbers = [len(batch) for batch in left]
    assert numbers == sorted(numbers)
    assert all(plain_signals([batch]) == saved[len(batch)] for batch in left)
    assert [run.steps for run in store.runs()] == numbers[-1:]
    if numbers:
        assert store.evidence("run") == sample_evidence(PROBES, hits=numbers[-1])


def test_a_record_that_is_being_written_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader cannot see whether the rest is still to come, but whether the writer is alive."""
    writer = FileStore(FileOptions(path=str(tmp_path / "store")))
    writer.save(RUN, sample_batch(PROBES, 1), Evidence.pending(PROBES))
    (segment,) = (tmp_path / "store").iterdir()
    with segment.open("ab") as half:
        half.write(b'{"crc32":"0123')
    assert sizes(tmp_path / "store") == [1]
    assert caplog.messages == []
    writer.close()
    assert sizes(tmp_path / "store") == [1]
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(run=None),
        lambda record: record["run"].pop("host"),
        lambda record: record["run"].update(mode="no such mode"),
        lambda record: record["evidence"].update(verdict=["nonsense"] * len(PROBES)),
        lambda record: record["evidence"].update(hits=[-1] * len(PROBES)),
        lambda record: record["evidence"]["probes"].pop(),
        lambda record: record["signals"].update(probe=[99]),
        lambda record: record["signals"].update(time="now"),
        lambda record: record["signals"].update(extra=[]),
    ],
)
def test_a_well_framed_line_that_is_no_record_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Any
) -> None:
    """Someone else may have written it: then it is reported, and nothing is made up."""
    segment = save(tmp_path / "store", 1)
    record = json.loads(segment.read_bytes())["record"]
    change(record)
    with segment.open("ab") as file:
        file.write(frame(orjson.dumps(record)))
    store = FileStore(FileOptions(path=str(tmp_path / "store")))
    store.runs()
    assert len(store.evidence("run").probes) == len(PROBES)
    list(store.signals("run"))
    assert len(caplog.messages) == 1
    assert "no record" in caplog.messages[0]


@pytest.mark.parametrize("text", [b"null", b"[]", b"{}", b"1", b"{", b"\xff"])
def test_a_well_framed_line_of_something_else_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    segment = save(tmp_path / "store", 1)
    with segment.open("ab") as file:
        file.write(frame(text))
    assert sizes(tmp_path / "store") == [1]
    assert len(caplog.messages) == 1


def test_a_newer_format_is_not_guessed_at(tmp_path: Path) -> None:
    segment = save(tmp_path / "store", 1)
    with segment.open("ab") as file:
        file.write(frame(b'{"schema":"ebpf-bot/record/2"}'))
    with pytest.raises(StoreError, match="ebpf-bot/record/2") as caught:
        FileStore(FileOptions(path=str(tmp_path / "store"))).runs()
    assert "upgrade" in caught.value.hint


def test_a_save_that_is_interrupted_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(FileOptions(path=str(tmp_path / "store")))
    store.save(RUN, sample_batch(PROBES, 1), Evidence.pending(PROBES))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", _half_then(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            store.save(RUN, sample_batch(PROBES, 2), Evidence.pending(PROBES))
    store.save(RUN, sample_batch(PROBES, 3), Evidence.pending(PROBES))
    assert sizes(tmp_path / "store") == [1, 3]
    assert len(list((tmp_path / "store").iterdir())) == 1


def test_what_cannot_be_taken_back_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The torn tail stays at the end of its segment, where readers cut it off; the next record begins another."""
    store = FileStore(FileOptions(path=str(tmp_path / "store")))
    store.save(RUN, sample_batch(PROBES, 1), Evidence.pending(PROBES))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", _half_then(OSError(5, "Input/output error")))
        patched.setattr(os, "ftruncate", _half_then(OSError(5, "Input/output error")))
        with pytest.raises(StoreError, match="Input/output error"):
            store.save(RUN, sample_batch(PROBES, 2), Evidence.pending(PROBES))
    store.save(RUN, sample_batch(PROBES, 3), Evidence.pending(PROBES))
    assert sizes(tmp_path / "store") == [1, 3]
    assert len(list((tmp_path / "store").iterdir())) == 2
    assert "torn tail" in caplog.text


def _half_then(error: BaseException) -> Any:
    """Return a stand-in for os.write that writes half, and raises when it is called for the rest."""
    write, calls = os.write, iter(range(2))

    def half(file: int, data: Any) -> int:
        if next(calls) == 1 or not isinstance(data, memoryview):
            raise error
        return write(file, data[: len(data) // 2])

    return half
