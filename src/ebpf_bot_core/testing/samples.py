"""Made-up probes, evidence, signals and runs: some that are always the same, and Hypothesis strategies.

What the strategies draw is well formed, as `Evidence` and `SignalBatch` define it, and otherwise as unkind as real
hosts are: names with backslashes and other scripts, thread names that are no UTF-8, fields that a receiver appended.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ebpf_bot_core.evidence import EVIDENCE_DTYPE, Evidence
from ebpf_bot_core.probe import ProbeKind, ProbeTable
from ebpf_bot_core.run import Host, Mode, Run, Scope
from ebpf_bot_core.signal import SIGNAL_DTYPE, SignalBatch
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = [
    "batches",
    "evidence",
    "probe_names",
    "probe_tables",
    "runs",
    "sample_batch",
    "sample_evidence",
    "sample_probes",
    "sample_run",
]

_NOW: Final = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z in ns since the Unix epoch: so that samples look like signals of today."""


def sample_run(number: int = 0, **changes: Any) -> Run:
    """Return a finished run with every field set; the higher its number, the later it started.

    Args:
        number: 0 to 3599; part of the id and of the time of its start.
        changes: fields to set otherwise.
    """
    run = Run(
        id=f"{number:032x}",
        backend="simulated",
        plan_name="sample",
        plan_digest="sha256:" + "5a" * 32,
        host=Host("6.18.44", "x86_64", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
        mode=Mode.STREAM,
        scope=Scope.COMMAND,
        started=f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000Z",
        seconds=1.25,
        steps=3,
        command=("gzip", "-9", "a file"),
        exit_status=130,
        finished=True,
        trace_id="0af7651916cd43dd8448eb211c80319c",
        overhead_ratio=0.0125,
    )
    return attrs.evolve(run, **changes)


def sample_probes(count: int = 4) -> ProbeTable:
    """Return a table of functions of one program."""
    return ProbeTable(tuple(f"uprobe:/usr/bin/gzip:function_{i}" for i in range(count)))


def sample_evidence(probes: ProbeTable, *, hits: int = 1, signals_lost: int = 0) -> Evidence:
    """Return evidence in which every second probe has fired `hits` times, and the others are silent."""
    columns = np.zeros(len(probes), EVIDENCE_DTYPE)
    columns["verdict"] = Verdict.SILENT
    columns["reason"] = Reason.NOT_CALLED
    fired = columns[::2]
    fired["verdict"] = Verdict.FIRED
    fired["reason"] = Reason.NONE
    fired["hits"] = hits
    fired["first_fired"] = _NOW
    fired["last_fired"] = _NOW + hits
    columns["live_ns"] = 1_000_000_000
    columns["opportunities"] = 1
    columns["cost_ns"] = 700 * columns["hits"]
    return Evidence(probes, columns, signals_lost=signals_lost)


def sample_batch(probes: ProbeTable, size: int = 10, *, count: int = 1) -> SignalBatch:
    """Return `size` signals as stream mode gives them, of all probes in turn, each with that `count`."""
    records = np.zeros(size, SIGNAL_DTYPE)
    turn = np.arange(size)
    records["time"] = _NOW + turn * 1_000
    records["count"] = count
    records["probe"] = turn % max(len(probes), 1)
    records["pid"] = 4_000 + turn % 3
    records["tid"] = 4_000 + turn % 7
    records["cpu"] = turn % 2
    records["comm"] = np.array([b"gzip", b"kworker/0:1-mm_"], "S16")[turn % 2]
    return SignalBatch(probes, records)


def probe_names() -> st.SearchStrategy[str]:
    """Draw names as injectors find them; few enough that two tables often share some."""
    plain = st.sampled_from(["malloc", "free", "deflate", "_ZN4core3fmt5Write9write_fmtE", "a\\b", "größe"])
    kinds = st.sampled_from([ProbeKind.UPROBE, ProbeKind.KPROBE, ProbeKind.SYSCALL])
    return st.builds(
        lambda kind, name: f"{kind}:/usr/lib/x y:{name}" if kind.in_binary else f"{kind}:{name}",
        kinds,
        plain | st.text(min_size=1, max_size=6),
    )


def probe_tables(*, min_size: int = 0, max_size: int = 6) -> st.SearchStrategy[ProbeTable]:
    """Draw tables of different sizes and orders."""
    return st.lists(probe_names(), min_size=min_size, max_size=max_size, unique=True).map(ProbeTable.of)


@st.composite
def evidence(draw: st.DrawFn, probes: ProbeTable | None = None) -> Evidence:
    """Draw evidence in which a row has hits exactly where it is FIRED, and a reason exactly where it is not.

    Args:
        draw: given by Hypothesis.
        probes: the table; by default a drawn one.
    """
    table = draw(probe_tables()) if probes is None else probes
    rows, details = [], {}
    for i in range(len(table)):
        rows.append(draw(_standings()))
        detail = draw(st.sampled_from(["", "", "a", "b\\x", "größe"]))
        if detail:
            details[i] = detail
    lost = draw(st.integers(0, 3))
    return Evidence(table, np.array(rows, EVIDENCE_DTYPE), details, lost)


@st.composite
def _standings(draw: st.DrawFn) -> tuple[int, ...]:
    verdict = draw(st.sampled_from(Verdict))
    live, opportunities = draw(st.integers(0, 2**50)), draw(st.integers(0, 3))
    cost = draw(st.integers(0, 2**50))
    if verdict is not Verdict.FIRED:
        # Few values, so that two pieces of evidence often agree in one column and differ in the next.
        reason = draw(st.sampled_from([Reason.NOT_EXAMINED, Reason.BUDGET, Reason.NOT_CALLED]))
        return verdict, reason, 0, 0, 0, live, opportunities, cost
    hits = draw(st.integers(1, 3) | st.integers(1, 2**50))
    first = draw(st.integers(1, 9) | st.integers(1, 2**62))
    return verdict, Reason.NONE, hits, first, first + draw(st.integers(0, 9)), live, opportunities, cost


_FIELD_TYPES: Final = ("?", "<i4", "<u8", ">u2", "<f4", "<f8", "S5", "U3", "V3", "(2,)<u8")


@st.composite
def batches(draw: st.DrawFn, probes: ProbeTable | None = None, *, extra: bool = True) -> SignalBatch:
    """Draw a batch of a few signals.

    Args:
        draw: given by Hypothesis.
        probes: the table; by default a drawn one.
        extra: whether fields may be appended: numbers, booleans, text, bytes, and arrays of numbers.
    """
    table = draw(probe_tables(min_size=1)) if probes is None else probes
    size = draw(st.integers(0, 5)) if len(table) else 0
    kinds = draw(st.lists(st.sampled_from(_FIELD_TYPES), max_size=3)) if extra else []
    dtype = np.dtype([*SIGNAL_DTYPE.descr, *((f"extra {i}", kind) for i, kind in enumerate(kinds))])
    records = np.zeros(size, dtype)
    for i in range(size):
        records[i]["time"] = draw(st.integers(0, 2**63 - 1))
        records[i]["count"] = draw(st.integers(1, 9) | st.integers(1, 2**50))
        records[i]["probe"] = draw(st.integers(0, len(table) - 1))
        records[i]["pid"], records[i]["tid"] = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 2**22))
        records[i]["cpu"] = draw(st.integers(-1, 2**31 - 1))
        records[i]["comm"] = draw(st.sampled_from([b"", b"gzip"]) | st.binary(max_size=16))
    for name in (dtype.names or ())[len(SIGNAL_DTYPE.names or ()) :]:
        records[name] = draw(_values(dtype[name], size))
    return SignalBatch(table, records, draw(st.integers(0, 3)))


def _values(dtype: np.dtype[Any], size: int) -> st.SearchStrategy[NDArray[Any]]:
    """Draw any values that a field of this type can hold, infinities and NaN among them."""
    if dtype.kind == "U":
        texts = st.text(max_size=dtype.itemsize // 4)
        return st.lists(texts, min_size=size, max_size=size).map(lambda some: np.array(some, dtype))
    length = size * dtype.itemsize
    raw = st.binary(min_size=length, max_size=length)
    if dtype.kind == "b":
        return raw.map(lambda some: np.frombuffer(some, np.uint8) % 2 == 1)
    return raw.map(lambda some: np.frombuffer(some, dtype))


def runs() -> st.SearchStrategy[Run]:
    """Draw runs with any text in them, whether finished or not."""
    text = st.text(max_size=8)
    host = st.builds(Host, kernel=text, machine=text, boot_id=text)
    return st.builds(
        Run,
        id=st.sampled_from(["a", "A", "../a", "a/b", "."]) | st.text(min_size=1, max_size=40),
        backend=text,
        plan_name=text,
        plan_digest=text,
        host=host,
        mode=st.sampled_from(Mode),
        scope=st.sampled_from(Scope),
        started=st.integers(0, 3599).map(lambda number: sample_run(number).started),
        seconds=st.floats(0, 1e9),
        steps=st.integers(0, 2**31),
        command=st.lists(text, max_size=3).map(tuple),
        exit_status=st.none() | st.integers(0, 255),
        finished=st.booleans(),
        trace_id=text,
        overhead_ratio=st.none() | st.floats(0, 1e3),
    )
