// SPDX-License-Identifier: GPL-2.0-only
/*
 * The programs of the libbpf backend: each says that one site was reached, by counting in a table that the bot reads.
 *
 * A site is one attach point. Its number, from 1, is the cookie of the link (for syscalls: an entry of a table), and
 * the index of its counter. In scope COMMAND a hit counts only where the thread that made it is covered.
 *
 * Needs: kernel 6.6 (uprobe_multi), BTF; raw tracepoints also 6.10 (cookies). Loading needs CAP_BPF and CAP_PERFMON.
 * Built ahead by scripts/build_objects.py; nothing here is compiled on the host that is probed.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define MAX_TID (1 << 22)	/* PID_MAX_LIMIT of 64-bit kernels */
#define SYSCALL_SLOTS 1024
#define CLONE_THREAD 0x00010000 /* uapi/linux/sched.h */
#define TS_COMPAT 0x0002	/* x86 asm/thread_info.h: a 32-bit syscall is active */

/* Of the kernel's structs only what is read here; CO-RE finds the fields where this kernel has them. */
struct thread_info {
	__u32 status;
} __attribute__((preserve_access_index));

struct task_struct {
	struct thread_info thread_info;
	int pid;
} __attribute__((preserve_access_index));

struct bpf_raw_tp_link {
	__u64 cookie;
} __attribute__((preserve_access_index));

/* Set before loading; the verifier drops the branches that they switch off. */
const volatile bool keep;   /* count every hit, not just the first */
const volatile bool filter; /* count covered threads only */

/* Thread ids are those of the initial pid namespace, here and everywhere below. */
__u32 foster;	 /* the thread whose next child is to be covered; 0: none */
__u32 expected;	 /* that child, until it executes its program; 0: none */
__u64 execs;	 /* how often a covered process has executed a program */
__u32 syscall_sites[SYSCALL_SLOTS]; /* by syscall number; 0: not watched */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set before loading */
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* One bit a thread. Not a global variable, so that the 512 KiB are neither shipped nor spent in scope HOST. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_TID / 64); /* 1 in scope HOST */
	__type(key, __u32);
	__type(value, __u64);
} covered SEC(".maps");

static __always_inline __u32 current_tid(void)
{
	return (__u32)bpf_get_current_pid_tgid();
}

static __always_inline bool is_covered(__u32 tid)
{
	__u32 word = tid / 64;
	__u64 *bits = bpf_map_lookup_elem(&covered, &word);

	return bits && *bits >> (tid % 64) & 1;
}

static __always_inline void set_covered(__u32 tid, bool on)
{
	__u32 word = tid / 64;
	__u64 mask = 1ULL << (tid % 64);
	__u64 *bits = bpf_map_lookup_elem(&covered, &word);

	if (!bits || !(*bits & mask) == !on)
		return;
	if (on)
		__sync_fetch_and_or(bits, mask);
	else
		__sync_fetch_and_and(bits, ~mask);
}

static __always_inline bool in_scope(void)
{
	return !filter || is_covered(current_tid());
}

static __always_inline void count(__u32 site, bool exact)
{
	__u64 *counter = bpf_map_lookup_elem(&counts, &site);

	if (!counter)
		return;
	if (exact)
		__sync_fetch_and_add(counter, 1);
	else if (!*counter) /* reading first leaves the cache line shared among the CPUs */
		*counter = 1;
}

/*
 * Programs on uprobes. Their section says kprobe.multi only because the tools they are built with do not know
 * uprobe.multi; the build sets the expected attach type to BPF_TRACE_UPROBE_MULTI.
 */

SEC("kprobe.multi")
int uprobe_hit(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx), keep);
	return 0;
}

/* Code that runs once whenever a binary is loaded: how often the probes in it had a chance to fire. */
SEC("kprobe.multi")
int uprobe_load(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx), true);
	return 0;
}

/* Attached only to learn where the kernel can place a probe. */
SEC("kprobe.multi")
int uprobe_trial(void *ctx)
{
	return 0;
}

/* Programs on the kernel's own events. */

SEC("raw_tp/any")
int raw_hit(void *ctx)
{
	/* Without this question a kernel before 6.10, which has no such cookies, would refuse the whole object. */
	if (bpf_core_field_exists(struct bpf_raw_tp_link, cookie) && in_scope())
		count(bpf_get_attach_cookie(ctx), keep);
	return 0;
}

SEC("tracepoint")
int tracepoint_hit(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx), keep);
	return 0;
}

/* A 64-bit program can make 32-bit syscalls (int $0x80), whose numbers mean something else. */
static __always_inline bool is_compat_syscall(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return bpf_core_field_exists(task->thread_info.status) && task->thread_info.status & TS_COMPAT;
}

/* raw_tp/sys_enter: args are the registers and the syscall's number. */
SEC("raw_tp/sys_enter")
int syscall_hit(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 number = ctx->args[1];
	__u32 site;

	if (number >= SYSCALL_SLOTS)
		return 0;
	site = syscall_sites[number];
	if (site && in_scope() && !is_compat_syscall())
		count(site, keep);
	return 0;
}

/*
 * Programs that keep `covered`. Every task passes task_newtask before it runs, so a thread id that is used again
 * gets its bit anew there and nothing needs to be cleared when a thread ends: a thread stays covered through its
 * own exit. All threads of a process have the same bit, so one that executes a program in place of its leader,
 * and takes over the leader's id, needs no care either.
 */

/* raw_tp/task_newtask: args are the new task and the clone flags; the current thread is the one that made it. */
SEC("raw_tp/task_newtask")
int scope_newtask(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	__u32 child = BPF_CORE_READ(task, pid);
	__u32 parent = current_tid();

	set_covered(child, is_covered(parent));
	if (parent == foster && !(ctx->args[1] & CLONE_THREAD))
		expected = child;
	else if (child == expected) /* the expected one ended without executing anything */
		expected = 0;
	return 0;
}

/* raw_tp/sched_process_exec: only a success gets here; the current thread is the process's only one. */
SEC("raw_tp/sched_process_exec")
int scope_exec(void *ctx)
{
	__u32 tid = current_tid();

	if (tid == expected) {
		expected = 0;
		set_covered(tid, true);
	}
	if (is_covered(tid))
		__sync_fetch_and_add(&execs, 1);
	return 0;
}

/* Run by BPF_PROG_TEST_RUN: inside a pid namespace no other way tells a thread its id in the initial one. */
SEC("raw_tp/none")
int scope_own_tid(void *ctx)
{
	return current_tid();
}

char LICENSE[] SEC("license") = "GPL";
