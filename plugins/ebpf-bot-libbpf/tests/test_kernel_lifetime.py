"""Nothing outlives its owner: no link, program, map, descriptor or thread, however the owner ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ebpf_bot_core import BackendError, Scope

pytestmark = pytest.mark.live

PROGRAM = """
    #include <stdio.h>
    __attribute__((noinline)) int work(int x) { return x + 1; }
    int main(void) { volatile int x = 0; for (int i = 0; i < 10; i++) x = work(x); return 0; }
"""
PATTERNS = ("syscall:getppid", "tracepoint:sched:sched_process_exit", "rawtracepoint:sched_process_exec")


def descriptors():
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the directory's own
    return sorted(
        target for target in found.values() if "bpf" in target or "perf" in target or "/target" in target
    )


def program_ids(injection):
    ids = set()
    for descriptor in injection._programs._object.programs.values():
        info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        ids.add(int(info.split("prog_id:")[1].split()[0]))
    return ids


def eventually(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("scope", Scope)
def test_close_leaves_nothing(bench, build, programs_in_kernel, scope):
    target = build(PROGRAM)
    threads, open_before = threading.active_count(), descriptors()
    with bench.trial(f"uprobe:{target}:work", f"uretprobe:{target}:work", *PATTERNS, scope=scope) as trial:
        ours = program_ids(trial.injection)
        links = [link for program, held in programs_in_kernel().items() if program in ours for link in held]
        assert len(links) == 6 + 2 * (scope is Scope.COMMAND)
        trial.run(target)
    assert descriptors() == open_before
    assert threading.active_count() == threads
    assert eventually(lambda: not ours & programs_in_kernel().keys())
    trial.injection.close()


def test_detaching_in_rounds_leaves_one_link(bench, build, programs_in_kernel):
    functions = "".join(f"__attribute__((used)) void f{i:02d}(void) {{}}\n" for i in range(40))
    target = build(functions + "int main(void) { return 0; }")
    with bench.trial(f"uprobe:{target}:f*", keep=False) as trial:
        ours = program_ids(trial.injection)
        for start in range(0, 30, 10):
            trial.injection.detach(trial.rows[start : start + 10])

        def links():
            held = programs_in_kernel()
            return sum(len(held.get(program, ())) for program in ours)

        # One for the functions that are left, one for loads, two that follow the command.
        assert eventually(lambda: links() == 4)


def test_a_closed_injection_cannot_be_read(bench):
    with bench.trial("syscall:getppid") as trial:
        pass
    with pytest.raises(BackendError, match="closed"):
        trial.hits()


def test_an_injection_of_another_backend_cannot_be_read(bench):
    with pytest.raises(BackendError, match="cannot read an injection"):
        bench.receiver.receive(object(), 0)


def test_the_command_inherits_nothing(bench, build):
    with bench.trial(f"uprobe:{build(PROGRAM)}:work", *PATTERNS) as trial:
        shown = trial.run("ls", "-l", "/proc/self/fd", close_fds=False)
        assert b"bpf" not in shown.stdout
        assert b"perf" not in shown.stdout
        assert b"target" not in shown.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_bot_that_is_killed_leaves_nothing_behind(build, programs_in_kernel, number):
    target = build(PROGRAM)
    patterns = (f"uprobe:{target}:work", *PATTERNS)
    script = f"""
import numpy as np, sys
from pathlib import Path
from ebpf_bot_core import Mode, ProbePattern, Scope
from ebpf_bot_libbpf.stages import LibbpfInjector
injector = LibbpfInjector()
found = injector.find([ProbePattern.parse(text) for text in {patterns!r}])
injection = injector.open(found.probes, scope=Scope.COMMAND, mode=Mode.COUNT, keep=True)
injection.attach(np.arange(len(found)))
for descriptor in injection._programs._object.programs.values():
    print(Path(f"/proc/self/fdinfo/{{descriptor}}").read_text().split("prog_id:")[1].split()[0])
print("ready", flush=True)
sys.stdin.read()
"""
    bot = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        ours = {int(line) for line in iter(bot.stdout.readline, b"ready\n")}
        held = programs_in_kernel()
        assert sum(len(held[program]) for program in ours) == 7
        bot.send_signal(number)
        assert bot.wait(10) == -number
        assert eventually(lambda: not ours & programs_in_kernel().keys(), seconds=5)
    finally:
        bot.kill()
        bot.wait(10)


def test_receiving_waits_for_something_to_fire_but_no_longer(bench, build):
    target = build(PROGRAM)
    with bench.trial(f"uprobe:{target}:work") as trial:
        began = time.monotonic()
        assert trial.hits(timeout=0.2) == {}
        assert 0.2 <= time.monotonic() - began < 1
        with trial.injection.follow():
            process = subprocess.Popen(["sh", "-c", f"sleep 0.3; {target}"])
        began = time.monotonic()
        assert trial.hits(timeout=10)
        assert time.monotonic() - began < 5
        process.wait(10)
