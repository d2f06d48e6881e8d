"""The reader of the ring buffer, on memory that looks as the kernel's does."""

from __future__ import annotations

import mmap
import os
from contextlib import closing

import numpy as np
import pytest
from ebpf_bot_linux.kernel.ring import Ring

BODY = np.dtype([("number", "<u8"), ("twice", "<u8")])
RECORD = np.dtype([("length", "<u4"), ("page", "<u4"), *BODY.descr])
SIZE = 1 << 20
BUSY, DISCARDED = 1 << 31, 1 << 30
MANY = SIZE // RECORD.itemsize
"""Records that fill the ring: several pieces of what the reader looks at in one go."""


class Producer:
    """Writes records as programs do; `lengths` and the records are those of the ring's first round."""

    def __init__(self, map_fd):
        page = mmap.PAGESIZE
        self.memory = mmap.mmap(map_fd, 2 * page + 2 * SIZE)
        self.records = np.frombuffer(self.memory, RECORD, MANY, 2 * page)
        self.lengths = self.records["length"]
        self.read_to, self.written_to = (np.frombuffer(self.memory, np.uint64, 1, at) for at in (0, page))

    def write(self, count):
        numbers = np.arange(count)
        self.records["number"][:count] = numbers
        self.records["twice"][:count] = 2 * numbers
        self.lengths[:count] = BODY.itemsize
        self.written_to[0] = count * RECORD.itemsize

    @property
    def records_read(self):
        return int(self.read_to[0]) // RECORD.itemsize


@pytest.fixture
def producer_and_ring():
    map_fd = os.memfd_create("ring")
    os.truncate(map_fd, 2 * mmap.PAGESIZE + 2 * SIZE)
    producer = Producer(map_fd)
    with closing(Ring(map_fd, SIZE, BODY)) as ring:
        os.close(map_fd)
        yield producer, ring


def nothing(_):
    """Leave a piece as it is."""


def test_all_is_taken_once_and_its_place_given_back(producer_and_ring):
    producer, ring = producer_and_ring
    producer.write(MANY)
    taken = ring.take(nothing)
    assert taken["number"].tolist() == list(range(MANY))
    assert (taken["twice"] == 2 * taken["number"]).all()
    assert producer.records_read == MANY
    producer.records["number"] = 0
    assert taken["number"][-1] == MANY - 1, "the array owns its memory"
    assert len(ring.take(nothing)) == 0


@pytest.mark.parametrize("at", [0, 1, 30_000, MANY - 1])
def test_a_record_that_is_being_written_ends_the_batch_and_begins_the_next(producer_and_ring, at):
    producer, ring = producer_and_ring
    producer.write(MANY)
    producer.lengths[at] |= BUSY
    assert ring.take(nothing)["number"].tolist() == list(range(at))
    assert producer.records_read == at
    producer.lengths[at] = BODY.itemsize
    assert ring.take(nothing)["number"].tolist() == list(range(at, MANY))


def test_what_was_discarded_is_left_out_before_a_busy_record_and_behind_it(producer_and_ring):
    producer, ring = producer_and_ring
    producer.write(MANY)
    dropped, busy = {3, 29_999, 30_001}, 30_000
    producer.lengths[sorted(dropped)] |= DISCARDED
    producer.lengths[busy] |= BUSY
    first = ring.take(nothing)["number"].tolist()
    producer.lengths[busy] = BODY.itemsize
    assert first == [i for i in range(busy) if i not in dropped]
    assert ring.take(nothing)["number"].tolist() == [i for i in range(busy, MANY) if i not in dropped]


def test_every_piece_is_finished_once_and_producers_have_room_before(producer_and_ring):
    producer, ring = producer_and_ring
    producer.write(MANY)
    producer.lengths[7] |= DISCARDED
    seen, read = [], []

    def finish(piece):
        seen.append(piece["number"].copy())
        read.append(producer.records_read)
        piece["number"] += 1000

    taken = ring.take(finish)
    kept = np.array([i for i in range(MANY) if i != 7])
    assert len(seen) > 1
    assert (np.concatenate(seen) == kept).all()
    assert (taken["number"] == kept + 1000).all()
    assert [last - 1 for last in read] == [piece[-1] for piece in seen]
