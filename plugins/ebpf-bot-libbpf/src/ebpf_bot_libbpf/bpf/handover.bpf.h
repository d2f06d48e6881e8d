/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counting each hit once while a link follows on another.
 *
 * To take some places out of a link, a new one is attached on those that stay, then the old one is closed. Between, a
 * hit runs the program of both, and at either end that of one alone. The kernel runs the newest first, in the same
 * thread: uprobes by kernel/events/uprobes.c, consumer_add; the entries of its own functions by kernel/trace/ftrace.c,
 * add_ftrace_ops, and from 6.14 on by kernel/trace/fprobe.c, insert_fprobe_node. All add to the head. So the new link's
 * program counts and leaves a note, and the old link's program counts only where it finds none, and takes it.
 *
 * A note can only be left over once the old link has begun to go from places that stay, and then on all of them the new
 * link's program runs before any other that would ask. The notes are cleared before the next handover, of which there
 * is one at a time.
 *
 * In user space a note is one bit of the thread. In the kernel neither program can be preempted, nor what is between
 * them, but an interrupt may come there and call functions that are probed too; and all CPUs share one idle thread. So
 * there a note is a number of the CPU, which each level of interrupts leaves as it was. (While the new link is being
 * attached, one that calls a function that it has not come to yet, within these few instructions, counts for the other.)
 */

__u32 link_from;	/* the number of the link that goes, 0 for none: the upper half of its cookies */
__u32 link_to;		/* the number of the link that follows on it */

/* One bit a thread, or one element a CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* MAX_TID / 64 where every hit is kept */
	__type(key, __u32);
	__type(value, __u64);
} notes SEC(".maps");

static __always_inline bool is_in_handover(__u32 link)
{
	return link_from && (link == link_from || link == link_to);
}

/* For programs on uprobes. */
static __always_inline bool is_counted_already(__u32 link)
{
	__u32 tid, word;
	__u64 mask, *bits;

	if (!is_in_handover(link))
		return false;
	tid = current_tid();
	word = tid / 64;
	mask = 1ULL << (tid % 64);
	bits = bpf_map_lookup_elem(&notes, &word);
	if (!bits)
		return false;
	if (link == link_to) {
		__sync_fetch_and_or(bits, mask);
		return false;
	}
	if (!(*bits & mask))
		return false;
	__sync_fetch_and_and(bits, ~mask);
	return true;
}

/* For programs on the entries of the kernel's functions. */
static __always_inline bool is_counted_already_on_cpu(__u32 link)
{
	__u32 cpu;
	__u64 *number;

	if (!is_in_handover(link))
		return false;
	cpu = bpf_get_smp_processor_id();
	number = bpf_map_lookup_elem(&notes, &cpu);
	if (!number)
		return false;
	if (link == link_to) {
		__sync_fetch_and_add(number, 1);
		return false;
	}
	if (!*number)
		return false;
	__sync_fetch_and_add(number, -1);
	return true;
}
