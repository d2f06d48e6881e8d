"""Scope COMMAND on the real kernel: the command and all its descendants count, from its exec on, and no one else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ebpf_bot_core import Scope

pytestmark = pytest.mark.live

WORKER = """
    #define _GNU_SOURCE
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <unistd.h>

    __attribute__((noinline)) int work(int x) { asm volatile(""); return x + 1; }
    __attribute__((noinline)) int after_exec(int x) { asm volatile(""); return x + 2; }

    void *thread(void *n) { for (long i = 0; i < (long) n; i++) work(i); return 0; }
    void *crowd(void *n) { for (int i = 0; i < 500000; i++) syscall(SYS_getppid); return 0; }
    void *exec_again(void *self) { execl(self, self, "exec-ed", NULL); return 0; }

    int main(int c, char **v) {
        const char *what = c > 1 ? v[1] : "once";
        if (!strcmp(what, "once")) work(1);
        if (!strcmp(what, "exec-ed")) after_exec(1);
        if (!strcmp(what, "fork"))
            for (int i = 0; i < 5; i++) { if (!fork()) { work(i); _exit(0); } wait(0); }
        if (!strcmp(what, "vfork"))
            for (int i = 0; i < 5; i++) { if (!vfork()) { execl(v[0], v[0], "once", NULL); _exit(1); } wait(0); }
        if (!strcmp(what, "daemon") && !fork()) {
            setsid();
            if (!fork()) { usleep(300000); work(1); }
            _exit(0);
        }
        if (!strcmp(what, "threads")) {
            pthread_t t[8];
            for (long i = 0; i < 8; i++) pthread_create(&t[i], 0, thread, (void *) (i + 1));
            for (int i = 0; i < 8; i++) pthread_join(t[i], 0);
        }
        if (!strcmp(what, "crowd")) {
            pthread_t t[4];
            for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, crowd, 0);
            for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
        }
        if (!strcmp(what, "thread-forks")) {
            pthread_t t;
            int status;
            pthread_create(&t, 0, thread, (void *) 2);
            pthread_join(t, 0);
            if (!fork()) { work(1); _exit(0); }
            wait(&status);
        }
        if (!strcmp(what, "thread-execs") || !strcmp(what, "orphan-thread-execs")) {
            pthread_t t;
            pthread_create(&t, 0, exec_again, v[0]);
            if (what[0] == 'o') pthread_exit(0);
            pthread_join(t, 0);
        }
        return 0;
    }
"""


@pytest.fixture
def worker(build):
    return build(WORKER, name="worker")


@pytest.mark.parametrize(
    ("what", "hits"),
    [
        ("once", {"work": 1}),
        ("fork", {"work": 5}),
        ("vfork", {"work": 5}),
        ("threads", {"work": 36}),
        ("thread-forks", {"work": 3}),
        ("thread-execs", {"after_exec": 1}),
        ("orphan-thread-execs", {"after_exec": 1}),
    ],
)
def test_descendants_of_every_kind_count(bench, worker, what, hits):
    with bench.trial(f"uprobe:{worker}:work", f"uprobe:{worker}:after_exec") as trial:
        assert trial.run(worker, what).returncode == 0
        assert trial.hits() == hits


def test_a_daemon_that_the_command_leaves_behind_counts(bench, worker):
    with bench.trial(f"uprobe:{worker}:work") as trial:
        trial.run(worker, "daemon")
        assert trial.hits(timeout=10) == {"work": 1}


def test_others_who_run_the_same_binary_do_not_count(bench, worker):
    with bench.trial(f"uprobe:{worker}:work") as trial:
        before = subprocess.Popen(["sh", "-c", f"read x; {worker} threads"], stdin=subprocess.PIPE)
        trial.run(worker, "fork", follow=False)
        trial.run(worker, "once")
        trial.run(worker, "fork", follow=False)
        before.communicate(b"go\n", timeout=10)
        assert trial.hits() == {"work": 1}


def test_all_count_in_scope_host(bench, worker):
    with bench.trial(f"uprobe:{worker}:work", scope=Scope.HOST) as trial:
        trial.run(worker, "fork", follow=False)
        trial.run(worker, "once")
        assert trial.hits() == {"work": 6}


def test_a_pipeline_of_a_shell_counts(bench, worker):
    with bench.trial(f"uprobe:{worker}:work") as trial:
        trial.run("sh", "-c", f"{worker} fork | cat; ({worker} once &) ; wait; {worker} threads")
        assert trial.hits()["work"] == 5 + 1 + 36


def test_what_happens_before_the_exec_does_not_count(bench, worker):
    wanted = ("execve", "vfork", "clone", "clone3", "dup2", "chdir", "getpid", "umask", "setsid")
    with bench.trial(*(f"syscall:{name}" for name in wanted), f"uprobe:{worker}:work") as trial:
        trial.run(worker, cwd="/", start_new_session=True, umask=0o77, stdout=subprocess.DEVNULL)
        assert trial.hits() == {"work": 1}


def test_what_happens_before_the_exec_does_not_count_without_vfork_either(bench, worker):
    with bench.trial("syscall:getpgid", "syscall:setsid", f"uprobe:{worker}:work") as trial:
        trial.run(worker, preexec_fn=lambda: (os.getpgid(0), os.setsid()))  # makes Popen fork
        assert trial.hits() == {"work": 1}


def test_children_of_another_thread_are_not_adopted(bench, worker):
    stop = threading.Event()
    started = []

    def start_others():
        while not stop.is_set():
            started.append(subprocess.run([worker, "once"], check=True, timeout=10).returncode)

    with bench.trial(f"uprobe:{worker}:work", f"uprobe:{worker}:after_exec") as trial:
        with trial.injection.follow():
            thread = threading.Thread(target=start_others)
            thread.start()
            while len(started) < 20:
                stop.wait(0.01)
            process = subprocess.Popen([worker, "exec-ed"])
        while len(started) < 40:
            stop.wait(0.01)
        stop.set()
        thread.join(10)
        process.wait(10)
        assert trial.hits() == {"after_exec": 1}


def test_the_search_along_path_does_not_lose_the_command(bench, worker, monkeypatch, tmp_path):
    for name in ("empty", "denied", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "denied" / "worker").write_text("not executable")
    monkeypatch.setenv("PATH", f"{tmp_path}/none:{tmp_path}/empty:{tmp_path}/denied:{worker.parent}")
    with bench.trial(f"uprobe:{worker}:work") as trial:
        assert trial.run("worker").returncode == 0
        assert trial.hits() == {"work": 1}


def test_a_start_that_fails_covers_no_one(bench, worker):
    with bench.trial(f"uprobe:{worker}:work") as trial:
        for _ in range(3):
            with pytest.raises(FileNotFoundError), trial.injection.follow():
                subprocess.Popen(["/no/such/program"])
        for _ in range(50):
            trial.run(worker, "once", follow=False)
        assert trial.hits() == {}
        trial.run(worker, "once")
        assert trial.hits() == {"work": 1}


def test_a_child_that_ends_before_its_exec_hands_its_id_to_no_one(bench, worker):
    """Thread ids come round: the id of a child that was expected, and died, is given to others."""
    with bench.trial(f"uprobe:{worker}:work") as trial:
        with trial.injection.follow():
            child = os.fork()
            if not child:
                os._exit(0)
        os.waitpid(child, 0)
        taken = _start_with_id(child, [worker, "once"])
        assert taken == child, "could not have an id given out again"
        assert trial.hits() == {}


def test_the_id_of_a_covered_thread_that_ended_covers_no_one(bench, worker):
    with bench.trial(f"uprobe:{worker}:work") as trial:
        with trial.injection.follow():
            process = subprocess.Popen([worker, "once"])
        process.wait(10)
        taken = _start_with_id(process.pid, [worker, "once"])
        assert taken == process.pid, "could not have an id given out again"
        assert trial.hits() == {"work": 1}


def test_a_thread_that_is_started_meanwhile_does_not_take_the_childs_place(bench, worker):
    """The child has forked and not executed anything yet when its parent, within the context, starts a thread."""
    reader, writer = os.pipe()
    with bench.trial(f"uprobe:{worker}:work") as trial:
        with trial.injection.follow():
            child = os.fork()
            if not child:
                os.read(reader, 1)
                os.execv(worker, [str(worker), "once"])
            thread = threading.Thread(target=int)
            thread.start()
            thread.join(10)
        os.write(writer, b"!")
        os.waitpid(child, 0)
        assert trial.hits() == {"work": 1}
    os.close(reader)
    os.close(writer)


def test_no_hit_of_threads_that_run_at_once_is_lost(bench, worker):
    """Of syscalls, since they come so fast that two CPUs do meet at one counter."""
    with bench.trial("syscall:getppid") as trial:
        trial.run(worker, "crowd")
        assert trial.hits() == {"getppid": 4 * 500_000}


def test_two_commands_can_be_covered(bench, worker):
    with bench.trial(f"uprobe:{worker}:work") as trial:
        trial.run(worker, "once")
        trial.run(worker, "fork")
        assert trial.hits() == {"work": 6}


def test_it_works_inside_a_pid_namespace(worker):
    script = f"""
import numpy as np, os, subprocess
from ebpf_bot_core import Mode, ProbePattern, Scope
from ebpf_bot_libbpf.stages import LibbpfInjector
from ebpf_bot_libbpf.stages import LibbpfReceiver
assert os.getpid() < 10
injector = LibbpfInjector()
found = injector.find([ProbePattern.parse("uprobe:{worker}:work")])
with injector.open(found.probes, scope=Scope.COMMAND, mode=Mode.COUNT, keep=True) as injection:
    injection.attach(np.arange(1))
    subprocess.run(["{worker}", "fork"], check=True)
    with injection.follow():
        process = subprocess.Popen(["{worker}", "threads"])
    process.wait()
    print(LibbpfReceiver().receive(injection, 0).total)
"""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script]
    done = subprocess.run(unshare, stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout == b"36\n"


def test_an_exec_of_the_command_is_an_opportunity_for_the_kernels_probes(bench, worker):
    with bench.trial("rawtracepoint:sched_process_exec", "syscall:swapoff", f"uprobe:{worker}:work") as trial:
        trial.run(shutil.which("true"), follow=False)
        assert trial.injection.inspect().columns["opportunities"].tolist() == [0, 0, 0]
        trial.run(worker, "vfork")
        assert trial.injection.inspect().columns["opportunities"].tolist() == [6, 6, 6]


def _start_with_id(wanted, command):
    """Run a command under a thread id that is free, as a checkpoint restorer does; return the id it had."""
    with Path("/proc/sys/kernel/ns_last_pid").open("r+") as last:
        for _ in range(200):
            last.seek(0)
            last.write(str(wanted - 1))
            last.flush()
            process = subprocess.Popen(command)
            process.wait(10)
            if process.pid == wanted:
                break
    return process.pid
