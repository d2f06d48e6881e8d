"""A seeded, kernel-free backend for ebpf-bot that can fail in every way real kernels do."""
