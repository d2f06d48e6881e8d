/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counting each hit once while a link follows on another.
 *
 * To take some places out of a link, a new one is attached on those that stay, then the old one is closed. Between, a
 * hit runs the program of both, and at either end that of one alone. The kernel runs the newest consumer of a uprobe
 * first (kernel/events/uprobes.c, consumer_add: it is added to the head), in the same thread, so the new link's program
 * counts and leaves a note for the thread, and the old link's program counts only where it finds none, and takes it.
 *
 * A note can only be left over once the old link has begun to go from places that stay, and then on all of them the new
 * link's program runs before any other that would ask. The notes are cleared before the next handover, of which there
 * is one at a time.
 */

__u32 link_from;	/* the number of the link that goes, 0 for none: the upper half of its cookies */
__u32 link_to;		/* the number of the link that follows on it */

/* One bit a thread. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* MAX_TID / 64 where every hit is kept */
	__type(key, __u32);
	__type(value, __u64);
} notes SEC(".maps");

static __always_inline bool is_counted_already(__u32 link)
{
	__u32 tid, word;
	__u64 mask, *bits;

	if (!link_from || (link != link_from && link != link_to))
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
