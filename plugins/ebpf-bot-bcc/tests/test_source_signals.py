"""Signals of a user's functions: their counts are the hits, whatever the functions write, and their fields what they wrote."""

from __future__ import annotations

import subprocess
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from ebpf_bot_bcc.options import BccOptions
from ebpf_bot_bcc.source.buffers import PerfBuffer, Taken
from ebpf_bot_bcc.source.event_source import EventSource, OpenBuffer
from ebpf_bot_bcc.source.injector import SourceInjector
from ebpf_bot_bcc.stages import BccReceiver
from hypothesis import given
from hypothesis import strategies as st

from ebpf_bot_core import UNRECORDED, Mode, ProbePattern, ProbeTable, Scope

STRUCT = np.dtype([("number", "<u4"), ("letter", "S1")], align=True)
TABLE = ProbeTable(("kprobe:first", "kprobe:second"))


class World:
    """Functions that are hit, and write, while they are being read: something may happen between any two looks."""

    def __init__(self, happens=()):
        self.hits = np.zeros(3, np.uint64)  # site 0 is none; site 1 is the first probe's, site 2 the second's
        self.waiting = {1: [], 2: []}
        self.happens = list(happens)
        self.left_out = 0

    def hit(self, site, records=()):
        self.hits[site] += np.uint64(1)
        self.waiting[site] += records

    def look(self, result):
        if self.happens:
            self.happens.pop(0)(self)
        return result

    # What `Programs` and `Sites` are asked for.

    @property
    def counters(self):
        return SimpleNamespace(snapshot=lambda: self.look(self.hits.copy()))

    def lost(self):
        return self.left_out

    def source(self, *structs):
        sites = SimpleNamespace(size=3, pair_row=np.array([0, 1]), pair_site=np.array([1, 2]))
        buffers = {
            row: [OpenBuffer("events", InMemory(self, row + 1), each)] for row, each in enumerate(structs)
        }
        return EventSource(TABLE, sites, self, buffers)


class InMemory:
    """A buffer of one site."""

    def __init__(self, world, site):
        self.world, self.site = world, site
        self.closed = 0

    def take(self):
        taken, self.world.waiting[self.site] = self.world.waiting[self.site], []
        head = np.zeros(len(taken), PerfBuffer.HEAD)
        head["pid"], head["tid"], head["cpu"] = 5, 6, 1
        head["time"] = range(len(taken))
        bodies = (
            np.array([(n, b"x") for n in taken], STRUCT).view(np.uint8).reshape(len(taken), STRUCT.itemsize)
        )
        return self.world.look(Taken(head, bodies))

    def close(self):
        self.closed += 1


def happening(hits):
    """Some hits of the first probe, each with some records."""

    def happen(world):
        for records in hits:
            world.hit(1, range(records))

    return happen


MEANWHILE = st.lists(st.lists(st.integers(0, 3), max_size=4).map(happening), max_size=20)


@given(MEANWHILE, st.integers(1, 6))
def test_counts_are_hits_whatever_is_written_and_whenever(happens, drains):
    world = World(happens)
    source = world.source(STRUCT)
    batches = [source.drain() for _ in range(drains)]
    told = sum(batch.total for batch in batches)
    assert told <= world.hits[1], "no signal is ahead of the hits"
    while world.happens:
        batches.append(source.drain())
    batches += [source.drain(), source.drain()]
    assert sum(batch.total for batch in batches) == world.hits[1]
    assert not len(source.drain())


@given(st.lists(st.integers(0, 4).map(lambda hits: happening([1] * hits)), max_size=20))
def test_where_each_hit_leaves_a_record_each_record_counts_one(happens):
    world = World(happens)
    source = world.source(STRUCT)
    records = np.concatenate([source.drain().records for _ in range(len(happens) + 2)])
    assert records["count"].tolist() == [1] * int(world.hits[1])
    assert (records["cpu"] == 1).all()


def test_hits_without_a_record_are_one_signal_without_payload():
    world = World()
    source = world.source(STRUCT)
    for _ in range(5):
        world.hit(1)
    world.hit(1, [7])
    world.hit(2)
    batch = source.drain()
    unrecorded = batch.records[batch.records["cpu"] == UNRECORDED]
    assert [(r["probe"], r["count"]) for r in unrecorded] == [(0, 5), (1, 1)]
    assert [signal.extra for signal in batch if signal.cpu != UNRECORDED] == [{"number": 7, "letter": b"x"}]


def test_a_record_that_comes_a_moment_after_its_hit_is_that_hits():
    world = World(
        [lambda world: world.waiting[1].append(7)]
    )  # between the first look at the hits and the buffers
    source = world.source(STRUCT)
    world.hit(1)
    world.happens.insert(0, lambda world: None)
    batch = source.drain()
    assert [(signal.count, signal.cpu, signal.extra["number"]) for signal in batch] == [(1, 1, 7)]


def test_of_several_records_of_a_hit_one_counts():
    world = World()
    source = world.source(STRUCT)
    world.hit(1, [1, 2, 3])
    assert [(s.count, s.extra["number"]) for s in source.drain()] == [(1, 1), (0, 2), (0, 3)]


def test_what_the_kernel_left_out_is_lost_and_told_once():
    world = World()
    source = world.source(STRUCT)
    world.left_out = 3
    assert [source.drain().lost, source.drain().lost] == [3, 0]


def test_records_tell_who_and_when_by_the_time_of_day():
    world = World()
    source = world.source(STRUCT)
    world.hit(1, [0])
    (signal,) = source.drain()
    assert (signal.pid, signal.tid, signal.cpu) == (5, 6, 1)
    assert abs(signal.time - source._clock.offset) < 1_000_000


def test_closing_closes_the_buffers_and_may_be_done_twice():
    source = World().source(STRUCT, None)
    source.close()
    source.close()
    assert [each.buffer.closed for each in (*source._buffers[0], *source._buffers[1])] == [2, 2]


PROGRAM = """
struct whole { u32 number; char text[8]; };
struct other { u64 twice; };
struct inner { int x; };
struct strange { struct inner inside; u32 y; };
BPF_ARRAY(numbers, u32, 1);
BPF_PERF_OUTPUT(events);
BPF_RINGBUF_OUTPUT(three_times, 8);
BPF_RINGBUF_OUTPUT(ring, 8);
BPF_PERF_OUTPUT(odd);

static u32 next(void)
{
    int zero = 0;
    u32 *n = numbers.lookup(&zero);
    return n ? (*n)++ : 0;
}
int writes_none(struct pt_regs *ctx) { return 0; }
int writes_one(struct pt_regs *ctx)
{
    struct whole v = { next(), "one" };
    events.perf_submit(ctx, &v, sizeof(v));
    return 0;
}
int writes_three(struct pt_regs *ctx)
{
    struct whole v = { next(), "three" };
    for (int i = 0; i < 3; i++)
        three_times.ringbuf_output(&v, sizeof(v), 0);
    return 0;
}
int writes_to_both(struct pt_regs *ctx)
{
    struct whole v = { next(), "both" };
    struct other w = { 2 * v.number };
    events.perf_submit(ctx, &v, sizeof(v));
    ring.ringbuf_output(&w, sizeof(w), 0);
    return 0;
}
int writes_what_bcc_cannot_describe(struct pt_regs *ctx)
{
    struct strange v = {};
    odd.perf_submit(ctx, &v, sizeof(v));
    return 0;
}
"""
TARGET = """
#include <stdlib.h>
volatile int x;
#define F(name) __attribute__((noinline)) void name(void) { x++; }
F(none) F(one) F(three) F(both) F(odd)
int main(int c, char **v) {
    for (int i = atoi(v[1]); i; i--) { none(); one(); three(); both(); odd(); }
}
"""
ATTACH = {
    "writes_none": "none",
    "writes_one": "one",
    "writes_three": "three",
    "writes_to_both": "both",
    "writes_what_bcc_cannot_describe": "odd",
}


@pytest.fixture
def signals(build, tmp_path, compiler):
    """Signals of each function of the target, by its name, of a run that calls each so often."""

    def run(source, attach, times):
        target = build(TARGET)
        file = tmp_path / "mine.c"
        file.write_text(source)
        patterns = {function: f"uprobe:{target}:{name}" for function, name in attach.items()}
        injector = SourceInjector(BccOptions(str(file), patterns), compiler=compiler)
        found = injector.find([ProbePattern.parse(f"uprobe:{target}:*")])
        probes = found.probes
        batches = []
        with injector.open(probes, scope=Scope.COMMAND, mode=Mode.STREAM, keep=True) as injection:
            injection.attach(np.arange(len(probes)))
            with injection.follow():
                process = subprocess.Popen([target, str(times)])
            assert process.wait(60) == 0
            batches = [BccReceiver().receive(injection, 0) for _ in range(2)]
        injector.close()
        told = {name: [] for name in attach.values()}
        for batch in batches:
            assert batch.lost == 0
            for signal in batch:
                told[signal.probe.rpartition(":")[2]].append(signal)
        return told

    return run


@pytest.mark.live
def test_on_the_kernel(signals):
    times = 50
    told = signals(PROGRAM, ATTACH, times)
    assert {name: sum(s.count for s in of) for name, of in told.items()} == dict.fromkeys(
        ATTACH.values(), times
    )
    assert [(s.count, s.cpu, s.extra) for s in told["none"]] == [(times, UNRECORDED, {})]
    assert [s.count for s in told["one"]] == [1] * times
    assert {s.extra["text"] for s in told["one"]} == {b"one"}
    assert len({s.extra["number"] for s in told["one"]}) == times
    assert set(Counter(s.extra["number"] for s in told["three"]).values()) == {3}
    assert {tuple(s.extra) for s in told["both"]} == {("events.number", "events.text", "ring.twice")}, (
        "fields of several buffers are told apart"
    )
    numbers = sorted(s.extra["events.number"] for s in told["both"] if s.extra["events.text"])
    assert sorted(s.extra["ring.twice"] for s in told["both"] if not s.extra["events.text"]) == [
        2 * n for n in numbers
    ]
    assert [(s.count, s.extra) for s in told["odd"]] == [(1, {})] * times
