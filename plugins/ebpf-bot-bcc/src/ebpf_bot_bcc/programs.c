// SPDX-License-Identifier: GPL-2.0-only
/*
 * Count mode in BCC's dialect of C, by the names that ebpf-bot-linux asks for; its README says what each is.
 *
 * BCC compiles this on the host, before a run, against headers of the running kernel. Compiled with
 *   -DFILTER=1   where only covered threads count
 *   -DKEEP=1     where no hit may be counted twice while one link follows on another
 * Its maps are created anew at the sizes of the run; their sizes here mean nothing.
 */
#include <linux/ptrace.h>
#include <linux/sched.h>

#define MAX_TID (1 << 22) /* PID_MAX_LIMIT of 64-bit kernels */
#define SYSCALL_SLOTS 1024

/* What the bot sets and reads meanwhile; loading.py has the places. */
struct ebpf_bot_state {
	u64 execs;	/* how often a covered process has executed a program */
	u32 foster;	/* the thread whose next child is to be covered; 0: none */
	u32 expected;	/* that child, until it executes its program; 0: none */
	u32 link_from;	/* the number of the link that goes, 0 for none: the upper half of its cookies */
	u32 link_to;	/* the number of the link that follows on it */
	u32 others;	/* the counter that follows those of the sites; 0: hits out of scope are not counted */
	u32 unused;
	u32 syscall_sites[SYSCALL_SLOTS];      /* by syscall number; 0: not watched */
	u32 syscall_exit_sites[SYSCALL_SLOTS]; /* likewise */
};

BPF_F_TABLE("array", u32, struct ebpf_bot_state, bss, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, u64, counts, 1, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, u64, covered, 1, 0); /* one bit a thread */
BPF_F_TABLE("array", u32, u64, notes, 1, BPF_F_MMAPABLE); /* one bit a thread, or one element a CPU */

static __always_inline struct ebpf_bot_state *state(void)
{
	u32 zero = 0;

	return bss.lookup(&zero);
}

static __always_inline void count(u32 site)
{
	u64 *counter = counts.lookup(&site);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}

/* Which threads are covered. */

static __always_inline u32 current_tid(void)
{
	return bpf_get_current_pid_tgid();
}

static __always_inline bool is_covered(u32 tid)
{
	u32 word = tid / 64;
	u64 *bits = covered.lookup(&word);

	return bits && *bits >> (tid % 64) & 1;
}

static __always_inline void set_covered(u32 tid, bool on)
{
	u32 word = tid / 64;
	u64 mask = 1ULL << (tid % 64);
	u64 *bits = covered.lookup(&word);

	if (!bits || !(*bits & mask) == !on)
		return;
	/* An addition, since BCC's compiler has no atomic or; no other thread changes this bit meanwhile. */
	__sync_fetch_and_add(bits, on ? mask : -mask);
}

static __always_inline bool in_scope(void)
{
#if FILTER
	return is_covered(current_tid());
#else
	return true;
#endif
}

/* The current thread is the one that made the new one. */
int scope_newtask(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	struct ebpf_bot_state *bot = state();
	u32 child = 0, parent = current_tid();

	bpf_probe_read_kernel(&child, sizeof(child), &task->pid);
	set_covered(child, is_covered(parent));
	if (!bot)
		return 0;
	if (parent == bot->foster && !(ctx->args[1] & 0x00010000)) /* CLONE_THREAD */
		bot->expected = child;
	else if (child == bot->expected) /* the expected one ended without executing anything */
		bot->expected = 0;
	return 0;
}

int scope_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct ebpf_bot_state *bot = state();
	u32 tid = current_tid();

	if (!bot)
		return 0;
	if (tid == bot->expected) {
		bot->expected = 0;
		set_covered(tid, true);
	}
	if (is_covered(tid))
		__sync_fetch_and_add(&bot->execs, 1);
	return 0;
}

int scope_own_tid(struct bpf_raw_tracepoint_args *ctx)
{
	return current_tid();
}

/* Counting each hit once while a link follows on another: handover.bpf.h of ebpf-bot-libbpf tells how. */

static __always_inline u32 role(u32 link)
{
	struct ebpf_bot_state *bot = state();

	if (!bot || !bot->link_from)
		return 0;
	return link == bot->link_from ? 1 : link == bot->link_to ? 2 : 0;
}

static __always_inline bool is_counted_already(u32 link)
{
#if KEEP
	u32 part = role(link), tid, word;
	u64 mask, *bits;

	if (!part)
		return false;
	tid = current_tid();
	word = tid / 64;
	mask = 1ULL << (tid % 64);
	bits = notes.lookup(&word);
	if (!bits)
		return false;
	if (part == 2) {
		if (!(*bits & mask))
			__sync_fetch_and_add(bits, mask);
		return false;
	}
	if (!(*bits & mask))
		return false;
	__sync_fetch_and_add(bits, -mask);
	return true;
#else
	return false;
#endif
}

static __always_inline bool is_counted_already_on_cpu(u32 link)
{
#if KEEP
	u32 part = role(link), cpu = bpf_get_smp_processor_id();
	u64 *number;

	if (!part)
		return false;
	number = notes.lookup(&cpu);
	if (!number)
		return false;
	if (part == 2) {
		__sync_fetch_and_add(number, 1);
		return false;
	}
	if (!*number)
		return false;
	__sync_fetch_and_add(number, -1);
	return true;
#else
	return false;
#endif
}

static __always_inline bool count_whoever(u32 site)
{
	struct ebpf_bot_state *bot;

	if (in_scope()) {
		count(site);
		return true;
	}
	bot = state();
	if (bot && bot->others)
		count(bot->others + site);
	return false;
}

/* Places in code. */

int uprobe_hit(struct pt_regs *ctx)
{
	u64 cookie = bpf_get_attach_cookie(ctx);

	if (!is_counted_already(cookie >> 32))
		count_whoever(cookie);
	return 0;
}

int uprobe_load(struct pt_regs *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

int uprobe_trial(struct pt_regs *ctx)
{
	return 0;
}

int event_hit(struct pt_regs *ctx)
{
	count_whoever(bpf_get_attach_cookie(ctx));
	return 0;
}

int event_load(struct pt_regs *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

/* Functions of the kernel. */

int kprobe_hit(struct pt_regs *ctx)
{
	u64 cookie = bpf_get_attach_cookie(ctx);

	if (!is_counted_already_on_cpu(cookie >> 32))
		count_whoever(cookie);
	return 0;
}

int kprobe_trial(struct pt_regs *ctx)
{
	return 0;
}

/* Events of the kernel. */

int raw_hit(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

int tracepoint_hit(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

int sample_hit(struct bpf_perf_event_data *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

/* A 64-bit program can make 32-bit syscalls (int $0x80), whose numbers mean something else. */
static __always_inline bool is_compat_syscall(void)
{
#ifdef __x86_64__
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	u32 status = 0;

	bpf_probe_read_kernel(&status, sizeof(status), &task->thread_info.status);
	return status & 0x0002; /* TS_COMPAT */
#else
	return false;
#endif
}

int syscall_hit(struct bpf_raw_tracepoint_args *ctx)
{
	struct ebpf_bot_state *bot = state();
	u64 number = ctx->args[1];
	u32 site;

	if (!bot || number >= SYSCALL_SLOTS)
		return 0;
	site = bot->syscall_sites[number];
	if (site && in_scope() && !is_compat_syscall())
		count(site);
	return 0;
}

int syscall_exit_hit(struct bpf_raw_tracepoint_args *ctx)
{
	struct ebpf_bot_state *bot = state();
	struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
	u64 number = 0;
	u32 site;

#ifdef __x86_64__
	bpf_probe_read_kernel(&number, sizeof(number), &regs->orig_ax);
#else
	bpf_probe_read_kernel(&number, sizeof(u32), &regs->syscallno);
#endif
	if (!bot || number >= SYSCALL_SLOTS)
		return 0;
	site = bot->syscall_exit_sites[number];
	if (site && in_scope() && !is_compat_syscall())
		count(site);
	return 0;
}

/* A template: what comes in place of the context is the site's number. */
int site_hit(void *ctx)
{
	if (in_scope())
		count((u64)ctx);
	return 0;
}

/*
 * Put before a function that a user brings, by source/grafting.py: what is behind runs where this does not return 0, so a
 * user's function sees the hits that count, and each that it sees is counted.
 */

/* On code. */
int admit_code(struct pt_regs *ctx)
{
	u64 cookie = bpf_get_attach_cookie(ctx);

	return !is_counted_already(cookie >> 32) && count_whoever(cookie);
}

/* On functions of the kernel, by one link for many. */
int admit_kprobe(struct pt_regs *ctx)
{
	u64 cookie = bpf_get_attach_cookie(ctx);

	return !is_counted_already_on_cpu(cookie >> 32) && count_whoever(cookie);
}

/* On perf events. */
int admit_event(void *ctx)
{
	return count_whoever(bpf_get_attach_cookie(ctx));
}

/* Where there are no cookies: what comes in place of the context is the site's number. */
int admit_site(void *ctx)
{
	return count_whoever((u64)ctx);
}
