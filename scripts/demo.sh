#!/usr/bin/env bash
# The main job, for real: which of libcrypto's EVP functions does `openssl dgst` run, and why not the others?
# Where this host does not allow eBPF, it says so and shows a simulated run under its own name.
set -euo pipefail
cd "$(dirname "$0")/.."
bot=.venv/bin/ebpf-bot
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
store="sqlite:$PWD/build/demo.db"
mkdir -p build
rm -f build/demo.db*

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

if "$bot" doctor >"$work/doctor" 2>&1; then
  head -c 4M /dev/urandom >"$work/data"
  pattern='uprobe:libcrypto:EVP_*'
  say "ebpf-bot run --expect '$pattern' -- openssl dgst -sha256 DATA"
  "$bot" run --store "$store" --expect "$pattern" -- openssl dgst -sha256 "$work/data"
else
  cat "$work/doctor"
  printf '\nThis host does not allow eBPF (see above). What follows is SIMULATED: no kernel is probed.\n'
  pattern='uprobe:/usr/bin/checkout:*'
  say "ebpf-bot run --backend simulated --expect '$pattern' --for 1s"
  "$bot" run --backend simulated --store "$store" --expect "$pattern" --for 1s
fi
"$bot" report --store "$store" --format json -o build/demo-coverage.json
printf '\nThe whole map, a probe a line:  build/demo-coverage.json\n'
printf 'The evidence, for any report:   .venv/bin/ebpf-bot report --store sqlite:build/demo.db\n'
