"""A store for ebpf-bot in one SQLite file, with documented views."""
