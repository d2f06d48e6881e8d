"""Buffers: every record that was written is read once and whole, and what found no room is counted exactly."""

from __future__ import annotations

import mmap
import os
import struct
import time

import attrs
import numpy as np
import pytest
from ebpf_bot_bcc.loading import create_maps
from ebpf_bot_bcc.source import buffers
from ebpf_bot_bcc.source.buffers import PerfBuffer, RingBuffer
from ebpf_bot_linux import KernelError, ProgramType, perf_events, syscalls
from hypothesis import given
from hypothesis import strategies as st

PAGE = mmap.PAGESIZE
BUSY, DISCARDED = 1 << 31, 1 << 30
BODY = 24
RECORD = np.dtype([("number", "<u8"), ("twice", "<u8"), ("tag", "<u4"), ("rest", "<u4")])


def numbers(taken):
    return taken.bodies.view(RECORD)["number"].ravel().tolist()


@pytest.fixture
def leaks_nothing():
    def held():
        with open("/proc/self/maps", encoding="ascii") as maps:
            mapped = sum("anon_inode:" in line for line in maps)
        return len(os.listdir("/proc/self/fd")), mapped

    before = held()
    yield
    assert held() == before


# A ring in a file, written to as the kernel does.


class Written:
    """What a ring buffer is to its reader, with a producer that can stop in the middle of a record."""

    def __init__(self, size):
        self.size = size
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * size)
        self.memory = mmap.mmap(self.fd, 0)
        self.end = 0

    def room(self):
        return self.size - (self.end - struct.unpack_from("=Q", self.memory, 0)[0])

    def write(self, body, flags=0):
        """Write a record; return where it begins, None if there is no room for it."""
        record = struct.pack("=II", len(body) | flags, 0) + body
        record += bytes(-len(record) % 8)
        if len(record) > self.room():
            return None
        begin = self.end
        for i, byte in enumerate(record):
            self._set((begin + i) % self.size, byte)
        self.end += len(record)
        struct.pack_into("=Q", self.memory, PAGE, self.end)
        return begin

    def finish(self, begin, flags=0):
        """Take the busy bit of a record away."""
        at = (begin + 3) % self.size
        self._set(at, self.memory[2 * PAGE + at] & 0x3F | flags >> 24)

    def _set(self, at, byte):
        # The data follows itself once more.
        self.memory[2 * PAGE + at] = self.memory[2 * PAGE + self.size + at] = byte

    def close(self):
        self.memory.close()
        os.close(self.fd)


@pytest.fixture
def written():
    ring = Written(PAGE)
    yield ring
    ring.close()


def body(number, length=BODY):
    return struct.pack("=QQQ", number, 2 * number, 7)[:length].ljust(length, b"x")


RUNS = st.lists(
    st.tuples(st.sampled_from([BODY, BODY, 5, 8, 40, 100]), st.integers(1, 60), st.booleans()), max_size=8
)


@given(st.lists(RUNS, max_size=6), st.sampled_from([BODY, 8, 0]))
def test_records_of_the_declared_length_come_in_order_and_others_are_lost(rounds, declared):
    ring = Written(PAGE)
    reader = RingBuffer(ring.fd, PAGE, declared)
    number = 0
    try:
        for runs in rounds:
            sent, others = [], 0
            for length, times, discarded in runs:
                for _ in range(times):
                    fits = ring.write(body(number, length), DISCARDED * discarded) is not None
                    if fits and not discarded:
                        sent += [body(number, length)[:declared]] if declared in (0, length) else []
                        others += declared not in (0, length)
                    number += 1
            taken = reader.take()
            assert [bytes(each) for each in taken.bodies] == sent
            assert (taken.lost, ring.room(), taken.head) == (others, PAGE, None)
    finally:
        reader.close()
        ring.close()


@pytest.mark.parametrize("flags", [0, DISCARDED])
def test_a_record_that_is_being_written_waits_and_so_do_those_behind_it(written, flags):
    reader = RingBuffer(written.fd, PAGE, BODY)
    for number in range(20):
        written.write(body(number))
    begun = written.write(body(20), BUSY)
    written.write(body(21))
    assert numbers(reader.take()) == list(range(20))
    assert numbers(reader.take()) == []
    written.finish(begun, flags)
    assert numbers(reader.take()) == ([21] if flags else [20, 21])
    reader.close()


def test_a_ring_may_be_closed_twice_and_what_was_taken_stays(written):
    reader = RingBuffer(written.fd, PAGE, BODY)
    written.write(body(5))
    taken = reader.take()
    written.write(body(6))
    reader.close()
    reader.close()
    assert numbers(taken) == [5]


def test_a_ring_that_cannot_be_mapped_whole_leaves_nothing(leaks_nothing, monkeypatch):
    fd = os.memfd_create("ring")
    os.ftruncate(fd, 4 * PAGE)
    mapped = mmap.mmap

    def only_once(descriptor, size, **how):
        if how:
            raise PermissionError(1, "no more memory can be locked")
        return mapped(descriptor, size)

    monkeypatch.setattr(buffers.mmap, "mmap", only_once)
    with pytest.raises(KernelError, match="map a buffer") as error:
        RingBuffer(fd, PAGE, BODY)
    assert error.value.errno == 1
    os.close(fd)


# On the real kernel.

PROGRAMS = """
struct whole { u64 number; u64 twice; u32 tag; };
struct half { u64 number; };
BPF_PERF_OUTPUT(events);
BPF_RINGBUF_OUTPUT(ring, 1);
BPF_ARRAY(numbers, u64, 2);

static u64 next(int which)
{
    u64 *n = numbers.lookup(&which);
    return n ? (*n)++ : 0;
}

int to_events(void *ctx)
{
    struct whole v = {};
    v.number = next(0); v.twice = 2 * v.number; v.tag = 7;
    return -events.perf_submit(ctx, &v, sizeof(v));
}
int half_to_events(void *ctx)
{
    struct half v = { next(0) };
    return -events.perf_submit(ctx, &v, sizeof(v));
}
int to_ring(void *ctx)
{
    struct whole v = {};
    v.number = next(0); v.twice = 2 * v.number; v.tag = 7;
    if (ring.ringbuf_output(&v, sizeof(v), 0)) next(1);
    return 0;
}
int half_to_ring(void *ctx)
{
    struct half v = { next(0) };
    if (ring.ringbuf_output(&v, sizeof(v), 0)) next(1);
    return 0;
}
int discards(void *ctx)
{
    struct whole *v = ring.ringbuf_reserve(sizeof(struct whole));
    if (!v) { next(1); return 0; }
    v->number = next(0);
    ring.ringbuf_discard(v, 0);
    return 0;
}
"""


@attrs.define
class Writer:
    """The programs, and the maps that they write to."""

    programs: dict[str, int]
    maps: dict[str, int]

    def run(self, name, times=1):
        return [syscalls.run_program(self.programs[name]) for _ in range(times)]

    def failed(self):
        """How many records the programs say found no room."""
        return int.from_bytes(syscalls.read_element(self.maps["numbers"], 1, 8), "little")


@pytest.fixture
def writer(compiler):
    """Runs on one CPU, so that the order of records is that of the runs."""
    compiled = compiler.compile(PROGRAMS, "buffers.c")
    maps = create_maps(compiled.maps, {})
    programs = {
        name: syscalls.load_program(
            insns, type=ProgramType.RAW_TRACEPOINT, map_fds=tuple(maps.values()), logs=True
        )
        for name, insns in compiled.functions.items()
    }
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    yield Writer(programs, maps)
    os.sched_setaffinity(0, cpus)
    for descriptor in [*maps.values(), *programs.values()]:
        os.close(descriptor)


@pytest.fixture
def ring(writer):
    reader = RingBuffer(writer.maps["ring"], PAGE, BODY)
    yield reader
    reader.close()


@pytest.fixture
def perf(writer):
    reader = PerfBuffer(writer.maps["events"], BODY)
    yield reader
    reader.close()


@pytest.mark.live
def test_a_ring_gives_back_its_room_however_often_it_wraps_around(writer, ring):
    for begin in range(0, 5000, 100):
        writer.run("to_ring", 100)
        taken = ring.take()
        assert numbers(taken) == list(range(begin, begin + 100))
        assert taken.bodies.view(RECORD)["twice"].ravel().tolist() == list(
            range(2 * begin, 2 * begin + 200, 2)
        )
        assert taken.lost == 0
    assert writer.failed() == 0
    assert numbers(ring.take()) == []


@pytest.mark.live
def test_what_finds_no_room_in_a_ring_is_what_the_program_says(writer, ring):
    writer.run("to_ring", 300)
    full = (PAGE - 1) // (8 + BODY)
    assert numbers(ring.take()) == list(range(full))
    assert writer.failed() == 300 - full
    writer.run("to_ring")
    assert numbers(ring.take()) == [300]


@pytest.mark.live
def test_a_ring_of_several_structs_gives_those_of_the_declared_one(writer, ring):
    for _ in range(20):
        writer.run("to_ring")
        writer.run("half_to_ring", 2)
        writer.run("discards")
    taken = ring.take()
    assert numbers(taken) == list(range(0, 80, 4))
    assert taken.lost == 40


@pytest.mark.live
def test_where_no_struct_is_known_records_are_counted(writer):
    with_none = RingBuffer(writer.maps["ring"], PAGE, 0)
    writer.run("to_ring", 5)
    writer.run("half_to_ring", 5)
    writer.run("discards", 5)
    taken = with_none.take()
    assert (taken.bodies.shape, taken.lost) == ((10, 0), 0)
    with_none.close()


@pytest.mark.live
def test_a_perf_buffer_tells_who_wrote_when_and_where(writer, perf):
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert writer.run("to_events", 10) == [0] * 10
    taken = perf.take()
    after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert numbers(taken) == list(range(10))
    assert taken.bodies.view(RECORD)["tag"].ravel().tolist() == [7] * 10
    tid = int(os.readlink("/proc/thread-self").rpartition("/")[2])
    assert set(taken.head["tid"].tolist()) == {tid}
    assert set(taken.head["pid"].tolist()) == {int(os.readlink("/proc/self"))}
    assert set(taken.head["cpu"].tolist()) == os.sched_getaffinity(0)
    times = taken.head["time"].tolist()
    assert [before, *times, after] == sorted([before, *times, after])


@pytest.mark.live
def test_a_perf_buffer_gives_back_its_room_however_often_it_wraps_around(writer, perf):
    for begin in range(0, 15_000, 3000):
        writer.run("to_events", 3000)
        taken = perf.take()
        assert numbers(taken) == list(range(begin, begin + 3000))
        assert taken.lost == 0


@pytest.mark.live
def test_records_come_from_all_cpus(writer, perf):
    for cpu in perf_events.online_cpus():
        os.sched_setaffinity(0, {cpu})
        writer.run("to_events", 5)
    taken = perf.take()
    assert sorted(numbers(taken)) == list(range(5 * len(perf_events.online_cpus())))
    assert set(taken.head["cpu"].tolist()) == set(perf_events.online_cpus())


@pytest.mark.live
def test_a_perf_buffer_has_lost_what_it_has_not_given(writer, perf):
    sent = 6000
    assert any(writer.run("to_events", sent)), "the buffer was never full"
    first = perf.take()
    assert first.lost == 0, "the kernel says so before the next record only"
    assert numbers(first) == list(range(len(first.bodies)))
    writer.run("to_events", 10)
    then = perf.take()
    assert numbers(then) == list(range(sent, sent + 10))
    assert len(first.bodies) + then.lost == sent


@pytest.mark.live
def test_shorter_records_than_declared_are_lost_and_those_around_them_are_not(writer, perf):
    for _ in range(10):
        writer.run("to_events", 3)
        writer.run("half_to_events")
    taken = perf.take()
    assert numbers(taken) == [n for n in range(40) if n % 4 != 3]
    assert (len(taken.head), taken.lost) == (30, 10)


@pytest.mark.live
def test_longer_records_than_declared_are_another_struct(writer):
    of_half = PerfBuffer(writer.maps["events"], 8)
    writer.run("to_events", 3)
    writer.run("half_to_events", 2)
    taken = of_half.take()
    assert taken.bodies.view("<u8").ravel().tolist() == [3, 4]
    assert taken.lost == 3
    of_half.close()


@pytest.mark.live
def test_the_buffers_stay_in_the_map_as_long_as_the_reader_and_no_longer(writer):
    descriptor = os.dup(writer.maps["events"])
    reader = PerfBuffer(descriptor, BODY)
    os.close(descriptor)
    os.close(writer.maps.pop("events"))
    assert writer.run("to_events") == [0]
    assert numbers(reader.take()) == [0]
    reader.close()
    reader.close()
    assert writer.run("to_events") == [2], "ENOENT: there is no buffer"


@pytest.mark.live
@pytest.mark.parametrize("trouble", ["cpu", "map", "memory"])
def test_a_perf_buffer_that_fails_half_way_leaves_nothing(leaks_nothing, monkeypatch, trouble):
    entries = 1 if trouble == "map" else 64
    descriptor = syscalls.create_map(4, key_size=4, value_size=4, max_entries=entries)
    if trouble == "cpu":
        monkeypatch.setattr(perf_events, "online_cpus", lambda: [0, 1 << 20])
    if trouble == "map":
        monkeypatch.setattr(perf_events, "online_cpus", lambda: [0, 1])
    if trouble == "memory":
        mapped, rooms = mmap.mmap, iter([None])

        def only_once(*args, **how):
            if next(rooms, 0) == 0:
                raise PermissionError(1, "no more memory can be locked")
            return mapped(*args, **how)

        monkeypatch.setattr(buffers.mmap, "mmap", only_once)
    with pytest.raises(KernelError):
        PerfBuffer(descriptor, BODY)
    os.close(descriptor)
