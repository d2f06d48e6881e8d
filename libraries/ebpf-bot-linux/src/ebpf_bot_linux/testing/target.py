"""One program that does each thing a known number of times, for the tests of every probe kind.

They run on this machine's kernel and on others in an emulator, where compiling takes seconds: so there is one program, built
once for all of them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

__all__ = ["build_target"]

_SOURCE: Final = r"""
    #define _GNU_SOURCE
    #define _SDT_HAS_SEMAPHORES 1
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/sdt.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <time.h>
    #include <unistd.h>
    unsigned short shop_armed_semaphore __attribute__((section(".probes")));
    unsigned short shop_plain_semaphore __attribute__((section(".probes")));
    __attribute__((noinline)) int work(int x) { return x * 3 + 1; }
    __attribute__((noinline)) int twice(int x) { return work(work(x)); }
    __attribute__((noinline)) void locked(int *x) { asm volatile("lock incl %0" : "+m"(*x)); }
    static void day(int n) {
        struct stat state;
        volatile int x = 0;
        for (int i = 0; i < n; i++) {
            syscall(SYS_getppid);
            syscall(SYS_fstat, 0, &state);
            unlink("/no such directory/file"); unlink("/no such directory/file");
            x = twice(x);
            DTRACE_PROBE1(shop, plain, i);
            if (shop_armed_semaphore) { DTRACE_PROBE1(shop, armed, i); }
        }
    }
    static volatile int ended;
    static void *storm(void *rounds) {
        for (; !ended; ++*(long *)rounds) {
            syscall(SYS_getpgid, 0); syscall(SYS_getsid, 0); syscall(SYS_umask, 022);
            syscall(SYS_sched_getscheduler, 0); syscall(SYS_sched_get_priority_max, 0); syscall(SYS_sched_get_priority_min, 0);
        }
        return 0;
    }
    int main(int c, char **v) {
        int n = atoi(v[2]);
        if (!strcmp(v[1], "day")) {
            day(n);
            if (!fork()) { day(1); _exit(0); }
            wait(0);
            printf("%d\n", shop_armed_semaphore);
        } else if (!strcmp(v[1], "pages")) {
            size_t size = 4096 * (size_t)n;
            char *pages = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            madvise(pages, size, MADV_NOHUGEPAGE);
            for (size_t at = 0; at < size; at += 4096) ((volatile char *)pages)[at] = 1;
        } else if (!strcmp(v[1], "storm")) {
            long rounds[8] = {0}, all = 0;
            pthread_t threads[8];
            for (int i = 0; i < n; i++) pthread_create(threads + i, 0, storm, rounds + i);
            while (getchar() != EOF);
            ended = 1;
            for (int i = 0; i < n; i++) { pthread_join(threads[i], 0); all += rounds[i]; }
            printf("%ld\n", all);
        } else if (!strcmp(v[1], "sleep")) {
            for (int i = 0; i < n; i++) usleep(1000);
        } else {
            while (clock() < n * (CLOCKS_PER_SEC / 1000));
        }
        return 0;
    }
"""


def build_target(folder: Path) -> Path:
    """Build the program in a folder, and return it.

    `day N` does each thing N times and once more in a child; `pages N`, `sleep N`, `spin MILLISECONDS`; `storm THREADS` makes
    rounds of six system calls until its input ends, and says how many rounds.
    """
    (folder / "target.c").write_text(_SOURCE, encoding="utf-8")
    subprocess.run(
        ["gcc", "-O1", "-pthread", "target.c", "-o", "target"], cwd=folder, check=True, timeout=120
    )
    return folder / "target"
