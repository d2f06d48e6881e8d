"""Stream mode on the real kernel: every hit is a record, and says what really happened."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
from ebpf_bot_libbpf.stages import LibbpfInjector, LibbpfReceiver
from ebpf_bot_linux import StreamOptions

from ebpf_bot_core import UNRECORDED, Mode, PlanError, ProbePattern, Scope, SignalBatch, Verdict

pytestmark = pytest.mark.live

SECONDS = 60


@pytest.fixture
def stream(bench):
    """Return what runs commands under probes in stream mode, and gives the signals and how many were lost."""

    @contextmanager
    def probing(*patterns, keep=True, **options):
        injector, receiver = LibbpfInjector(StreamOptions(**options)), LibbpfReceiver()
        found = injector.find([ProbePattern.parse(pattern) for pattern in patterns])
        rows = np.flatnonzero(found.columns["verdict"] == Verdict.PENDING)
        with injector.open(found.probes, scope=Scope.COMMAND, mode=Mode.STREAM, keep=keep) as injection:
            outcome = injection.attach(rows)
            assert all(row.verdict is Verdict.SILENT for row in outcome), [row.detail for row in outcome]

            def run(*command):
                with injection.follow():
                    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
                out, _ = process.communicate(timeout=SECONDS)
                assert process.returncode == 0
                return process.pid, out.decode()

            yield run, lambda: receiver.receive(injection, 0), injection
        injector.close()

    return probing


def of(signals, name):
    return [signal for signal in signals if signal.probe.endswith(f":{name}")]


CALLS = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
long times;
__attribute__((noinline)) long add(long a, long b, long c, long d, long e, long f) {
    __asm__ volatile("" ::: "memory"); return a * 2 - b + (c + d + e + f) * 0; }
void *work(void *number) {
    for (long i = 0; i < times; i++) add(i, (long)number, 3, -4, 1L << 40, -(1L << 62));
    printf("%ld %ld\\n", (long)number, syscall(SYS_gettid));
    return 0; }
int main(int count, char **words) {
    pthread_t threads[8]; int many = atoi(words[1]); times = atol(words[2]);
    for (long i = 0; i < many; i++) pthread_create(threads + i, 0, work, (void *)i);
    for (long i = 0; i < many; i++) pthread_join(threads[i], 0);
    return 0; }
"""


def test_arguments_results_and_who_it_was(stream, build):
    """Each of N calls by each of some threads, in its order, with the arguments that it was called with."""
    program, threads, times = build(CALLS), 4, 500
    before = time.time_ns()
    with stream(f"uprobe:{program}:add", f"uretprobe:{program}:add") as (run, receive, _):
        pid, said = run(program, threads, times)
        batch = receive()
    signals, lost = list(batch), batch.lost
    assert lost == 0
    assert len(signals) == 2 * threads * times
    tid_of = {int(number): int(tid) for number, tid in (line.split() for line in said.splitlines())}
    for number, tid in tid_of.items():
        mine = [signal for signal in signals if signal.tid == tid]
        calls = [signal for signal in mine if signal.probe.startswith("uprobe")]
        returns = [signal for signal in mine if signal.probe.startswith("uretprobe")]
        assert [list(call.extra.values()) for call in calls] == [
            [i, number, 3, -4, 1 << 40, -(1 << 62)] for i in range(times)
        ]
        assert [signal.extra["ret"] for signal in returns] == [i * 2 - number for i in range(times)]
        moments = [signal.time for signal in mine]
        assert moments == sorted(moments)
        assert [signal.probe.partition(":")[0] for signal in mine] == ["uprobe", "uretprobe"] * times
        spans = [after.time - call.time for call, after in zip(calls, returns, strict=True)]
        assert all(0 < signal.extra["latency"] < SECONDS * 10**9 for signal in returns)
        assert all(
            signal.extra["latency"] <= span + 10**6 for signal, span in zip(returns, spans, strict=True)
        )
    assert {(signal.pid, signal.comm, signal.count) for signal in signals} == {(pid, "target", 1)}
    assert {signal.cpu for signal in signals} <= set(range(os.cpu_count() or 1))
    assert before <= min(signal.time for signal in signals)
    assert max(signal.time for signal in signals) <= time.time_ns()


def test_an_alias_has_a_record_of_its_own(stream, build):
    """Two names of one address are two probes, and every call is a hit of both."""
    program = build(
        """
        __attribute__((noinline)) int work(int x) { __asm__ volatile(""); return x; }
        int again(int) __attribute__((alias("work")));
        __attribute__((noinline)) int other(int x) { __asm__ volatile(""); return x + 1; }
        int main(void) { for (int i = 0; i < 9; i++) { work(i); other(-i); } return 0; }
        """
    )
    with stream(*(f"uprobe:{program}:{name}" for name in ("work", "again", "other"))) as (run, receive, _):
        run(program)
        signals = list(receive())
    for name in ("work", "again"):
        assert [signal.extra["arg0"] for signal in of(signals, name)] == list(range(9))
    assert len(signals) == 27


def test_latency_of_calls_that_sleep_recurse_and_never_return(stream, build):
    """Every frame has its own time; one that longjmp has left gives none to a later call at the same place."""
    program = build(
        """
        #include <setjmp.h>
        #include <stdio.h>
        #include <time.h>
        #include <unistd.h>
        static jmp_buf out;
        static long now(void) { struct timespec t; clock_gettime(CLOCK_BOOTTIME, &t);
            return t.tv_sec * 1000000000L + t.tv_nsec; }
        __attribute__((noinline)) int nap(int n) {
            usleep(3000); int below = n ? nap(n - 1) : 0; __asm__ volatile(""); return below + 1; }
        __attribute__((noinline)) int leap(int far) {
            __asm__ volatile(""); if (far) longjmp(out, 1); __asm__ volatile(""); return 7; }
        int main(void) {
            long begin = now(); nap(3); printf("%ld\\n", now() - begin);
            begin = now(); if (!setjmp(out)) leap(1); usleep(30000);
            long again = now(); leap(0); printf("%ld\\n", now() - again); return 0; }
        """
    )
    with stream(f"uretprobe:{program}:nap", f"uretprobe:{program}:leap") as (run, receive, _):
        _, said = run(program)
        signals = list(receive())
    whole, short = map(int, said.split())
    naps = [signal.extra["latency"] for signal in of(signals, "nap")]
    assert [signal.extra["ret"] for signal in of(signals, "nap")] == [1, 2, 3, 4]
    assert all(shorter + 3_000_000 <= longer for shorter, longer in itertools.pairwise(naps))
    assert 4 * 3_000_000 <= naps[-1] <= whole
    (leap,) = of(signals, "leap")
    assert leap.extra["ret"] == 7
    assert 0 < leap.extra["latency"] <= short


def test_texts_are_read_on_request_and_flagged_where_they_are_cut(stream, build):
    """Also one on a page that nobody has touched, one that just fits, one at no address; and a returned one."""
    program = build(
        """
        #include <stdlib.h>
        #include <sys/sdt.h>
        static const char far_away[8192] __attribute__((aligned(4096))) = { [4090] = 'e', 'd', 'g', 'e', 's', '.', '.' };
        __attribute__((noinline)) int greet(const char *text, int n) { __asm__ volatile(""); return n; }
        __attribute__((noinline)) const char *name(int n) { __asm__ volatile(""); return n ? "returned" : 0; }
        int main(void) {
            greet("short", 1); greet("exactly fifteen", 2); greet("exactly sixteen.", 3); greet("", 4);
            greet((char *)8, 5); greet(far_away + 4090, 6); name(1); name(0);
            DTRACE_PROBE2(app, said, 5, "of a note"); return 0; }
        """
    )
    strings = [
        f"uprobe:{program}:greet:arg0",
        f"uretprobe:{program}:name:ret",
        f"usdt:{program}:app:said:arg1",
    ]
    patterns = [entry.rpartition(":")[0] for entry in strings]
    with stream(*patterns, strings=tuple(strings), string_bytes=16) as (run, receive, _):
        run(program)
        signals = list(receive())
    assert [
        (s.extra["arg0"], s.extra["truncated"], s.extra["arg1"] & 0xFFFFFFFF) for s in of(signals, "greet")
    ] == [
        (b"short", False, 1),
        (b"exactly fifteen", False, 2),
        (b"exactly sixteen", True, 3),
        (b"", False, 4),
        (b"", True, 5),
        (b"edges..", False, 6),
    ]
    assert [(s.extra["ret"], s.extra["truncated"]) for s in of(signals, "name")] == [
        (b"returned", False),
        (b"", True),
    ]
    assert [s.extra for s in of(signals, "said")] == [{"arg0": 5, "arg1": b"of a note", "truncated": False}]


def test_syscalls_have_their_arguments_with_names(stream, tmp_path):
    files = [tmp_path / name for name in ("one", "größe", "x" * 140)]
    for file in files:
        file.write_text("")
    with stream("syscall:openat", "syscall:getpid", strings=("syscall:open*:filename",)) as (run, receive, _):
        run("cat", *files)
        signals = list(receive())
    opened = {signal.extra["filename"]: signal.extra for signal in of(signals, "openat")}
    for file in files:
        assert opened[os.fsencode(file)[:127]] == {
            "dfd": -100,
            "flags": os.O_RDONLY,
            "mode": 0,
            "filename": os.fsencode(file)[:127],
            "truncated": len(os.fsencode(file)) > 127,
        }


def test_tracepoints_have_the_fields_of_their_format(stream, build):
    """A text elsewhere in the record, fixed texts, numbers: against what the kernel was made to do."""
    program = build(
        "#include <unistd.h>\nint main(void) { usleep(5000); return 0; }", name="sleeper-of-long-name"
    )
    names = ("sched:sched_process_exec", "sched:sched_switch", "task:task_rename")
    with stream(*(f"tracepoint:{name}" for name in names)) as (run, receive, _):
        pid, _ = run(program)
        signals = list(receive())
    (executed,) = of(signals, "sched_process_exec")
    assert executed.extra == {
        "filename": os.fsencode(program),
        "pid": pid,
        "old_pid": pid,
        "truncated": False,
    }
    switched = [signal for signal in of(signals, "sched_switch") if signal.pid == pid]
    assert {(s.extra["prev_pid"], s.extra["prev_comm"]) for s in switched} == {(pid, b"sleeper-of-long")}
    assert 1 in {s.extra["prev_state"] for s in switched}, (
        "it slept, so that one switch was from an interruptible sleep"
    )


def test_a_tracepoint_with_a_fixed_text_may_have_nothing_to_say_yet(stream):
    with stream("tracepoint:task:task_newtask") as (run, receive, _):
        assert len(receive()) == 0
        run("sh", "-c", "(true); true")
        (forked,) = receive()
        assert forked.extra["comm"] == b"sh"
        assert len(receive()) == 0


def test_raw_tracepoints_have_the_arguments_of_their_prototype(stream):
    with stream("rawtracepoint:sched_process_exec", "rawtracepoint:sys_enter") as (run, receive, _):
        pid, _ = run("true")
        signals = list(receive())
    (executed,) = of(signals, "sched_process_exec")
    assert executed.extra["old_pid"] == pid
    assert {"p", "bprm"} <= set(executed.extra)
    assert 231 in {signal.extra["id"] for signal in of(signals, "sys_enter")}, "exit_group of x86_64"


def test_usdt_arguments_of_every_size_and_place(stream, build):
    """Constants, registers and memory, of 1 to 8 bytes, with and without a sign, as an array is walked through."""
    program = build(
        """
        #include <stdint.h>
        #include <sys/sdt.h>
        volatile int8_t b = -3; volatile uint8_t ub = 253; volatile int16_t h = -300; volatile uint16_t uh = 65000;
        volatile int32_t w = -70000; volatile uint32_t uw = 4000000000u; volatile int64_t d = -5000000000;
        volatile uint64_t ud = 18000000000000000000u;
        volatile long many[6] = { 1, -2, 3, -4, 5, -6 };
        int main(void) {
            int8_t vb = b; uint8_t vub = ub; int16_t vh = h; uint16_t vuh = uh; int32_t vw = w; uint32_t vuw = uw;
            int64_t vd = d; uint64_t vud = ud;
            for (int i = 0; i < 6; i++) {
                DTRACE_PROBE10(app, all, vb, vub, vh, vuh, vw, vuw, vd, vud, many[i], i);
                DTRACE_PROBE3(app, constants, 5, -6, 1LL << 40);
            }
            DTRACE_PROBE(app, none);
            return 0; }
        """
    )
    with stream(f"usdt:{program}:app:*") as (run, receive, _):
        run(program)
        signals = list(receive())
    said = [[value for name, value in s.extra.items() if name != "truncated"] for s in of(signals, "app:all")]
    fixed = [-3, 253, -300, 65000, -70000, 4000000000, -5000000000, 18000000000000000000]
    assert said == [[*fixed, (i + 1) * (-1) ** i, i] for i in range(6)]
    assert [list(s.extra.values())[:3] for s in of(signals, "app:constants")] == [[5, -6, 1 << 40]] * 6
    assert [s.extra for s in of(signals, "app:none")] == [{}]


def test_what_finds_no_room_is_counted_exactly(stream, build):
    """A ring of one page under two threads: what came and what was lost are all that happened, and all is told apart."""
    program = build(CALLS)
    with stream(f"uprobe:{program}:add", "syscall:gettid", ring_bytes=4096) as (run, receive, injection):
        for _ in range(3):
            run(program, 2, 3000)
        batch = receive()
        assert len(batch) + batch.lost == 3 * (2 * 3000 + 2)
        assert batch.lost > 0
        assert len(receive()) == 0
        assert not injection.inspect().fired.any()
        fired = Counter(signal.probe.rpartition(":")[2] for signal in batch)
        assert fired["gettid"] >= 1, "no record of it had room, and yet it is known to have fired"
        assert any(signal.cpu == UNRECORDED and not signal.extra for signal in batch)


def test_a_probe_that_need_not_be_kept_is_taken_off(stream, build):
    program = build(CALLS)
    with stream(f"uprobe:{program}:add", keep=False) as (run, receive, injection):
        run(program, 1, 5)
        assert len(receive()) == 5
        injection.detach(np.array([0]))
        run(program, 1, 5)
        assert len(receive()) == 0


def test_batches_stay_when_the_injection_has_gone(stream, build):
    program = build(CALLS)
    with stream(f"uprobe:{program}:add") as (run, receive, _):
        run(program, 1, 50)
        first = receive()
        run(program, 1, 50)
        both = SignalBatch.concat([first, receive()])
    assert [signal.extra["arg0"] for signal in both] == [*range(50)] * 2


@pytest.mark.parametrize(
    ("entry", "said", "hint"),
    [
        ("syscall:openat:filenam", "has no argument 'filenam'; did you mean 'filename'?", "it has filename"),
        (
            "syscall:opena:filename",
            "names no probe of this run; did you mean 'syscall:openat'?",
            "PROBE:ARGUMENT",
        ),
        ("syscall:openat:dfd", "has no argument 'dfd'", "it has filename"),
        ("openat", "strings: 'openat'", "PROBE:ARGUMENT"),
    ],
)
def test_a_string_that_cannot_be_read_is_an_error_that_names_the_nearest(stream, entry, said, hint):
    with pytest.raises(PlanError) as caught, stream("syscall:openat", strings=(entry,)):
        pass
    assert said in caught.value.message
    assert hint in caught.value.hint
