// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stream mode: each hit is a record of its own in a ring buffer that the bot reads in place.
 *
 * All records of one run are equally long, so that a piece of the ring is one array to the reader: a head as the core
 * has its signals (ebpf_bot_core.SIGNAL_DTYPE, with the site where the row will stand), then a payload:
 *
 *     0          the values: 8 bytes each, or the bytes of a tracepoint's record
 *     text_at    up to TEXTS texts of text_size bytes each, ended by a zero byte
 *     flag_at    one byte, not 0 where a text or a value could not be read whole
 *
 * What a site's values and texts are is in `plans`, and for USDT probes in `operands`; what they mean only the bot
 * knows. No submit wakes the reader, which looks by itself: waking would cost the target more than the record does.
 *
 * Needs: kernel 6.6 (uprobe_multi), BTF; raw tracepoints also 6.10 (cookies). Loading needs CAP_BPF and CAP_PERFMON.
 */
#include "sites.bpf.h"
#include "registers.bpf.h"

#define VALUES 12 /* of a USDT probe (sys/sdt.h allows no more), or of a raw tracepoint */
#define TEXTS 4
#define MAX_TEXT 4096

/* Set before loading; the verifier knows them as constants. Multiples of 8. */
const volatile __u32 payload_size;
const volatile __u32 text_at;
const volatile __u32 text_size;
const volatile __u32 texts;   /* most that a site of this run has */
const volatile __u32 flag_at; /* 0: no site of this run needs it */

struct head {
	__u64 time; /* CLOCK_BOOTTIME, ns */
	__u64 count;
	__u32 site;
	__u32 pid;
	__u32 tid;
	__u32 cpu;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* bytes; set before loading */
} ring SEC(".maps");

/* By site: how many hits found no room in the ring. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set before loading */
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

struct plan {
	__u16 bytes;	  /* of a tracepoint's record or of a raw tracepoint's arguments */
	__u16 text[TEXTS]; /* the value that a text's address is, or where a tracepoint's record says where it lies */
	__u16 unused[3];
};

#define NO_TEXT 0xffff

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set before loading */
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

/* One argument of a USDT probe, as its note says: where it is, how wide, and whether it has a sign. */
struct operand {
	__u64 constant; /* the value, or what is added to the address */
	__u16 base;	/* where in struct pt_regs a register is */
	__u16 index;
	__u8 place;
	__u8 size;
	__u8 is_signed;
	__u8 scale; /* by how many bits the index is shifted */
};

enum place { NOWHERE, CONSTANT, REGISTER, MEMORY, INDEXED_MEMORY };

struct operands {
	struct operand of[VALUES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set before loading, where there are USDT probes */
	__type(key, __u32);
	__type(value, struct operands);
} operands SEC(".maps");

/* One call that has not returned. Frames that are never left (longjmp) are overwritten, or go as the oldest ones. */
struct frame {
	__u32 tid;
	__u32 site;
	__u64 stack_pointer;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* set before loading, where returns are probed */
	__type(key, struct frame);
	__type(value, __u64);
} frames SEC(".maps");

/* Begin a record whose payload the caller fills; NULL, and counted as lost, where the ring has no room. */
static __always_inline struct head *begin(__u32 site)
{
	struct head *head = bpf_ringbuf_reserve(&ring, sizeof(*head) + payload_size, 0);
	__u64 id = bpf_get_current_pid_tgid();
	__u64 *lost;

	count(site);
	if (!head) {
		lost = bpf_map_lookup_elem(&losses, &site);
		if (lost)
			__sync_fetch_and_add(lost, 1);
		return NULL;
	}
	head->time = bpf_ktime_get_boot_ns();
	head->count = 1;
	head->site = site;
	head->pid = id >> 32;
	head->tid = (__u32)id;
	head->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(head->comm, sizeof(head->comm));
	return head;
}

static __always_inline void finish(struct head *head)
{
	bpf_ringbuf_submit(head, BPF_RB_NO_WAKEUP);
}

static __always_inline void *payload_of(struct head *head)
{
	return head + 1;
}

static __always_inline void flag(struct head *head, bool incomplete)
{
	if (flag_at && flag_at < payload_size)
		*(__u8 *)(payload_of(head) + flag_at) = incomplete;
}

/* The place of a text in a payload, all zeros, so that nothing older stands behind its end. */
static __always_inline char *text_in(struct head *head, __u32 number)
{
	char *to = payload_of(head) + text_at + number * text_size;

	for (__u32 at = 0; at < text_size && at < MAX_TEXT; at += 8)
		*(__u64 *)(to + at) = 0;
	return to;
}

/*
 * Copy a text of the program; say whether it could not be read, or was longer than there is room. Where the program
 * may sleep, it makes the kernel fetch what is not in memory yet, as constants are before their first use.
 */
static __always_inline bool copy_user_text(char *to, __u64 address, bool may_sleep)
{
	void *from = (void *)address;
	long length = bpf_probe_read_user_str(to, text_size, from);
	char next = 0;

	if (length < 0 && may_sleep) {
		bpf_copy_from_user(&next, 1, from + text_size - 1);
		if (!bpf_copy_from_user(&next, 1, from))
			length = bpf_probe_read_user_str(to, text_size, from);
		next = 0;
	}
	if (length < 0)
		*to = 0;
	/* A text that fits exactly is as long as one that was cut: what follows tells. */
	if (length == text_size)
		bpf_probe_read_user(&next, 1, from + text_size - 1);
	return length < 0 || next;
}

/* Copy the texts whose addresses are among the first `size` values of a payload, and set its flag. */
static __always_inline void add_texts(struct head *head, __u32 site, __u32 size, bool incomplete,
				      bool may_sleep)
{
	__u64 *values = payload_of(head);
	struct plan *plan;

	if (texts) {
		plan = bpf_map_lookup_elem(&plans, &site);
		if (plan) {
#pragma unroll
			for (__u32 i = 0; i < TEXTS; i++) {
				__u32 value = plan->text[i];

				if (i < texts && value < size)
					incomplete |= copy_user_text(text_in(head, i), values[value], may_sleep);
			}
		}
	}
	flag(head, incomplete);
}

/* A function was called: six registers. Also the way to serve kprobes, whose context is the same. */
static __always_inline int function_called(void *ctx, bool may_sleep)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 site = cookie;
	struct head *head;

	if (payload_size < ARGUMENTS * 8 || (keep && is_counted_already(cookie >> 32)) || !in_scope())
		return 0;
	head = begin(site);
	if (!head)
		return 0;
	function_arguments(ctx, payload_of(head));
	add_texts(head, site, ARGUMENTS, false, may_sleep);
	finish(head);
	return 0;
}

/* See sites.bpf.h for what the section's name means; the build sets BPF_F_SLEEPABLE for those that say so. */
SEC("kprobe.multi/sleepable")
int uprobe_hit(void *ctx)
{
	return function_called(ctx, true);
}

/* Where a function whose return is probed is called; the return finds the time by the address of the frame. */
SEC("kprobe.multi")
int uprobe_enter(void *ctx)
{
	struct frame frame = {
		.tid = current_tid(),
		.site = bpf_get_attach_cookie(ctx),
		.stack_pointer = stack_pointer(ctx),
	};
	__u64 now;

	if (!in_scope())
		return 0;
	now = bpf_ktime_get_boot_ns();
	bpf_map_update_elem(&frames, &frame, &now, BPF_ANY);
	return 0;
}

/* Values: what was returned, and how long the call took in ns, -1 where that is not known. */
SEC("kprobe.multi/sleepable")
int uprobe_return(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct frame frame = {
		.tid = current_tid(),
		.site = cookie,
		.stack_pointer = entry_stack_pointer(ctx),
	};
	struct head *head;
	__u64 *values, *began;
	__u64 latency = -1;

	if (payload_size < 2 * 8 || (keep && is_counted_already(cookie >> 32)) || !in_scope())
		return 0;
	began = bpf_map_lookup_elem(&frames, &frame);
	if (began) {
		latency = bpf_ktime_get_boot_ns() - *began;
		bpf_map_delete_elem(&frames, &frame);
	}
	head = begin(frame.site);
	if (!head)
		return 0;
	values = payload_of(head);
	values[0] = function_result(ctx);
	values[1] = latency;
	add_texts(head, frame.site, 1, false, true);
	finish(head);
	return 0;
}

static __always_inline __u64 widened(__u64 value, const struct operand *operand)
{
	__u32 bits = (64 - 8 * operand->size) & 63;

	return operand->is_signed ? (__u64)((__s64)(value << bits) >> bits) : value << bits >> bits;
}

/* Read one argument of a USDT probe; say whether it could not be read. */
static __always_inline bool read_operand(void *ctx, const struct operand *operand, __u64 *value)
{
	__u64 address = 0, index = 0, raw = 0;
	__u32 size = operand->size;
	bool failed = false;

	if (operand->place == CONSTANT) {
		raw = operand->constant;
	} else if (operand->place != NOWHERE) {
		failed = bpf_probe_read_kernel(&address, sizeof(address), ctx + operand->base);
		if (operand->place == INDEXED_MEMORY)
			failed |= bpf_probe_read_kernel(&index, sizeof(index), ctx + operand->index);
		raw = address;
		if (operand->place >= MEMORY && size && size <= sizeof(raw)) {
			raw = 0;
			address += operand->constant + (index << (operand->scale & 3));
			failed |= bpf_probe_read_user(&raw, size, (void *)address);
		}
	}
	*value = widened(raw, operand);
	return failed;
}

SEC("kprobe.multi/sleepable")
int uprobe_usdt(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 site = cookie;
	struct operands *listed;
	struct head *head;
	__u64 *values;
	bool incomplete = false;

	if (payload_size < VALUES * 8 || (keep && is_counted_already(cookie >> 32)) || !in_scope())
		return 0;
	listed = bpf_map_lookup_elem(&operands, &site);
	if (!listed)
		return 0;
	head = begin(site);
	if (!head)
		return 0;
	values = payload_of(head);
	for (__u32 i = 0; i < VALUES; i++) {
		__u64 value = 0;

		incomplete |= read_operand(ctx, &listed->of[i], &value);
		values[i] = value;
	}
	add_texts(head, site, VALUES, incomplete, true);
	finish(head);
	return 0;
}

/* Programs on the kernel's own events. */

/* Copy as many bytes of the context as the site's plan says, from `start` on. */
static __always_inline void copy_context(struct head *head, const struct plan *plan, void *start)
{
	__u32 bytes = plan->bytes;

	if (bytes && bytes <= text_at)
		bpf_probe_read_kernel(payload_of(head), bytes, start);
}

/* The context is the tracepoint's arguments, 8 bytes each. */
SEC("raw_tp/any")
int raw_hit(void *ctx)
{
	struct plan *plan;
	struct head *head;
	__u32 site;

	/* Without this question a kernel before 6.10, which has no such cookies, would refuse the whole object. */
	if (!bpf_core_field_exists(struct bpf_raw_tp_link, cookie) || !in_scope())
		return 0;
	site = bpf_get_attach_cookie(ctx);
	plan = bpf_map_lookup_elem(&plans, &site);
	if (!plan)
		return 0;
	head = begin(site);
	if (!head)
		return 0;
	copy_context(head, plan, ctx);
	finish(head);
	return 0;
}

/*
 * The context is the tracepoint's record as its format file has it, 8 bytes of common fields first, in a buffer of the
 * kernel's that is larger than any. A text stands behind the fields; 4 bytes say where (low half) and how long it is.
 */
SEC("tracepoint")
int tracepoint_hit(void *ctx)
{
	__u32 site = bpf_get_attach_cookie(ctx);
	bool incomplete = false;
	struct plan *plan;
	struct head *head;

	if (!in_scope())
		return 0;
	plan = bpf_map_lookup_elem(&plans, &site);
	if (!plan)
		return 0;
	head = begin(site);
	if (!head)
		return 0;
	copy_context(head, plan, ctx + 8);
#pragma unroll
	for (__u32 i = 0; i < TEXTS; i++) {
		if (i < texts && plan->text[i] != NO_TEXT) {
			char *to = text_in(head, i);
			__u32 where = 0;
			long length;

			bpf_probe_read_kernel(&where, sizeof(where), ctx + plan->text[i]);
			length = bpf_probe_read_kernel_str(to, text_size, ctx + (where & 0xffff));
			if (length < 0)
				*to = 0;
			incomplete |= length < 0 || where >> 16 > text_size;
		}
	}
	flag(head, incomplete);
	finish(head);
	return 0;
}

SEC("raw_tp/sys_enter")
int syscall_hit(struct bpf_raw_tracepoint_args *ctx)
{
	struct head *head;
	__u32 site;

	if (payload_size < ARGUMENTS * 8)
		return 0;
	site = syscall_site(ctx);
	if (!site)
		return 0;
	head = begin(site);
	if (!head)
		return 0;
	syscall_arguments((void *)ctx->args[0], payload_of(head));
	add_texts(head, site, ARGUMENTS, false, false);
	finish(head);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
