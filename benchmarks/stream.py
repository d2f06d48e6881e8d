"""Measures stream mode: how fast records are drained, whether any is lost, and how fast the stores keep them.

    python benchmarks/stream.py --windows 31 --seconds 10 --rows 300000 --rounds 5

Drained is what a ring gives up in one go, as CPU time of this thread; the machine's other work does not count, but it
takes caches and memory bandwidth, so each window also times a bare copy of the same records in memory. There are two
kinds of records: of a raw tracepoint, with its two arguments, and of a syscall, with the six that one may have.
Lossless is a loop of getppid(2) on every CPU, the fastest producer there is, for some seconds. The stores get the signals of a function with six arguments, and their rates
are set against a bare `executemany` of the same rows, ready-made, in the same round. End to end is the same with the
drain before it; all of these are CPU time too. Needs root, or CAP_BPF and CAP_PERFMON.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import numpy as np
from ebpf_bot_file import FileOptions, FileStore
from ebpf_bot_libbpf.stages import LibbpfInjector, LibbpfReceiver
from ebpf_bot_linux import StreamOptions
from ebpf_bot_linux.injection import LinuxInjection
from ebpf_bot_sqlite import SqliteOptions, SqliteStore

from ebpf_bot_core import Evidence, Mode, ProbePattern, Scope, SignalBatch, SignalStore
from ebpf_bot_core.testing import sample_run

SOURCE = """
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static long times; static double end; static int calls;
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
__attribute__((noinline)) long six(long a, long b, long c, long d, long e, long f) {
    __asm__ volatile("nop"); return a + b + c + d + e + f; }
static void *work(void *none) {
    for (long i = 0; times ? i < times : i & 1023 || now() < end; i++)
        calls ? six(i, i & 7, 3, 4, 0x7f0000000000 + i * 16, -6) : syscall(SYS_getppid);
    return 0; }
int main(int count, char **words) {
    pthread_t threads[256]; calls = atoi(words[1]); int many = atoi(words[2]);
    times = atol(words[3]); end = now() + atof(words[4]);
    for (int i = 0; i < many; i++) pthread_create(threads + i, 0, work, 0);
    for (int i = 0; i < many; i++) pthread_join(threads[i], 0);
    return 0; }
"""
CPUS = os.cpu_count() or 1


@contextmanager
def streaming(pattern: str, options: StreamOptions) -> Iterator[LinuxInjection]:
    """Attach a probe in stream mode."""
    with closing(LibbpfInjector(options)) as injector:
        found = injector.find([ProbePattern.parse(pattern)])
        with injector.open(found.probes, scope=Scope.COMMAND, mode=Mode.STREAM, keep=True) as injection:
            injection.attach(np.arange(len(found)))
            yield injection


def start(injection: LinuxInjection, *words: object) -> subprocess.Popen[bytes]:
    """Start the program under the probe."""
    with injection.follow():
        return subprocess.Popen([str(word) for word in words])


@attrs.frozen
class Window:
    """What one drain of a ring that is partly full took; CPU seconds of this thread."""

    records: int
    record_bytes: int
    seconds: float
    copying: float

    @property
    def rate(self) -> float:
        """Millions of records a second."""
        return self.records / self.seconds / 1e6


def drained(program: Path, pattern: str, windows: int) -> list[Window]:
    """Return what some drains took; the first one, which makes this process's memory grow, does not count."""
    options, measured = StreamOptions(), []
    with streaming(pattern, options) as injection:
        many = options.ring_bytes // 640
        for _ in range(windows + 1):
            start(injection, program, 0, CPUS, many // CPUS, 0).wait()
            began = time.thread_time()
            records = injection.source.drain().records
            took = time.thread_time()
            records.copy()
            measured.append(Window(len(records), records.itemsize, took - began, time.thread_time() - took))
            if len(records) < many // CPUS * CPUS:
                raise SystemExit(f"only {len(records)} records of {many} came")
    return measured[1:]


def show(windows: list[Window]) -> None:
    """Print the median of some drains and how far they are apart, and the same in units of a bare copy."""
    rates = sorted(each.rate for each in windows)
    of_copy = statistics.median(each.seconds / each.copying for each in windows)
    print(
        f"drained   {statistics.median(rates):.1f} M records/s of {windows[0].record_bytes} bytes "
        f"({rates[0]:.1f} to {rates[-1]:.1f} in {len(windows)} windows); {of_copy:.1f} x the time of a bare copy"
    )


def lossless(program: Path, seconds: float) -> tuple[int, int, float]:
    """Return how many records the fastest producer made in some seconds, how many were lost, and the seconds."""
    receiver, got, lost = LibbpfReceiver(), 0, 0
    with streaming("syscall:getppid", StreamOptions()) as injection:
        began = time.monotonic()
        process = start(injection, program, 0, CPUS, 0, seconds)
        running = True
        while running:
            running = process.poll() is None
            batch = receiver.receive(injection, 0.1 if running else 0)
            got, lost = got + len(batch), lost + batch.lost
        return got, lost, time.monotonic() - began


def bare_executemany(path: Path, rows: list[tuple[object, ...]]) -> float:
    """Return the CPU seconds of inserting rows as plainly as it can be done in the mode that SqliteStore uses."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE signals (time INTEGER, count INTEGER, probe INTEGER, pid INTEGER, tid INTEGER, "
            "cpu INTEGER, comm TEXT, extra TEXT) STRICT"
        )
        began = time.thread_time()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        return time.thread_time() - began


def rows_of(store_path: Path) -> list[tuple[object, ...]]:
    """Return the rows that SqliteStore has made."""
    with closing(sqlite3.connect(store_path)) as connection:
        return connection.execute(
            "SELECT time, count, probe, pid, tid, cpu, comm, extra FROM signals"
        ).fetchall()


def saved(open_store: Callable[[], SignalStore], take: Callable[[], SignalBatch]) -> float:
    """Return the CPU seconds of taking a batch and saving it."""
    with closing(open_store()) as store:
        run = sample_run()
        began = time.thread_time()
        batch = take()
        store.save(run, batch, Evidence.pending(batch.probes))
        return time.thread_time() - began


def stored(program: Path, rows: int, rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each way to keep as many signals, one a round."""
    seconds: dict[str, list[float]] = {}
    with streaming(f"uprobe:{program}:six", StreamOptions()) as injection:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as name:
                directory = Path(name)

                def sqlite(path: Path = directory / "store.db") -> SignalStore:
                    return SqliteStore(SqliteOptions(path=str(path)))

                def file(path: Path = directory / "store") -> SignalStore:
                    return FileStore(FileOptions(path=str(path)))

                start(injection, program, 1, CPUS, rows // CPUS, 0).wait()
                batch = injection.source.drain()
                took = {"SqliteStore.save": saved(sqlite, lambda kept=batch: kept)}
                plain = rows_of(directory / "store.db")
                took["bare executemany"] = bare_executemany(directory / "bare.db", plain)
                took["FileStore.save"] = saved(file, lambda kept=batch: kept)
                start(injection, program, 1, CPUS, rows // CPUS, 0).wait()
                took["ring to FileStore"] = saved(file, injection.source.drain)
            for what, value in took.items():
                seconds.setdefault(what, []).append(value)
    return seconds


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=31, help="drains of a ring that is partly full")
    parser.add_argument("--seconds", type=float, default=10, help="of the fastest producer")
    parser.add_argument("--rows", type=int, default=300_000, help="signals for the stores")
    parser.add_argument("--rounds", type=int, default=5)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        program, source = Path(name) / "producer", Path(name) / "producer.c"
        source.write_text(SOURCE)
        subprocess.run(["gcc", "-O1", "-w", "-pthread", str(source), "-o", str(program)], check=True)
        print(f"load      {os.getloadavg()[0]:.1f} on {CPUS} CPUs before")
        for pattern in ("rawtracepoint:sys_enter", "syscall:getppid"):
            show(drained(program, pattern, settings.windows))
        got, lost, seconds = lossless(program, settings.seconds)
        print(
            f"producer  {got / seconds / 1e6:.2f} M records/s for {seconds:.0f} s: {got:,} came, {lost:,} lost"
        )
        took = stored(program, settings.rows, settings.rounds)
        for what, values in took.items():
            pairs = zip(took["bare executemany"], values, strict=True)
            ratio = statistics.median(bare / mine for bare, mine in pairs)
            rate = settings.rows / statistics.median(values)
            print(f"{what:20}{rate:12,.0f} signals/s{ratio:7.2f} x bare executemany")
        print(f"load      {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
