#!/usr/bin/env bash
# Gates a build on the functions that its tests reach, and keeps the evidence whether the gate holds or not.
#
#   examples/ci_gate.sh PERCENT PATTERN -- COMMAND...
#   examples/ci_gate.sh 40 'uprobe:./build/app:*' -- make test
#
# BACKEND=simulated tries it out where no real probe can be attached. Exit status: that of `ebpf-bot run`.
set -uo pipefail

if [ $# -lt 4 ] || [ "$3" != -- ]; then
  echo "usage: $0 PERCENT PATTERN -- COMMAND..." >&2
  exit 2
fi
percent=$1 pattern=$2
shift 3

out=${OUT:-coverage}
mkdir -p "$out"
options=(--expect "$pattern" --fail-under "$percent" --store "sqlite:$out/coverage.db")
[ -n "${BACKEND:-}" ] && options+=(--backend "$BACKEND")

ebpf-bot run "${options[@]}" -- "$@"
status=$?

# Written for every outcome, so that a failed build shows which functions it missed.
if [ -e "$out/coverage.db" ]; then
  ebpf-bot report --store "sqlite:$out/coverage.db" --last --format json -o "$out/coverage.json"
fi
case $status in
  0) echo "coverage gate: $percent % reached" >&2 ;;
  1) echo "coverage gate: below $percent %, or the command itself ended with 1; see $out/coverage.json" >&2 ;;
  2) echo "coverage gate: not judged; see the error above" >&2 ;;
  *) echo "coverage gate: the command ended with $status" >&2 ;;
esac
exit $status
