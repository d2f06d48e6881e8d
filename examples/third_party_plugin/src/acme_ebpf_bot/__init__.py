"""Plugins for ebpf-bot: a processor, a store, and a backend that reads bpftrace's output."""
