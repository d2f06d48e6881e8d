"""An append-only store for ebpf-bot that jq can read."""
