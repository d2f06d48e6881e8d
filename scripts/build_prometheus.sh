#!/usr/bin/env bash
# Builds the Prometheus of docker-compose.yaml, and its promtool, from their Go module into build/stack, in the place of
# Debian's older ones: then tests/stack runs what the stack runs. Takes some minutes; Go says which version it wants.
set -euo pipefail
cd "$(dirname "$0")/.."
programs=$PWD/build/stack
image=$(sed -n 's|.*image: prom/prometheus:v||p' docker-compose.yaml)
IFS=. read -r major minor patch <<<"$image"
module=github.com/prometheus/prometheus@v0.$major$(printf %02d "$minor").$patch # the module of 3.16.0 is v0.316.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$programs"
cd "$work"
go mod init prometheus-of-the-stack 2>/dev/null
go get "${module/@//cmd/prometheus@}" "${module/@//cmd/promtool@}" 2>log || { cat log >&2; exit 1; }
for name in prometheus promtool; do
  # Without its web pages, and without what finds targets in clouds.
  CGO_ENABLED=0 go build -tags remove_all_sd -trimpath -o "$name" \
    -ldflags="-s -w -X github.com/prometheus/common/version.Version=$image" "${module%@*}/cmd/$name"
done
mv prometheus promtool "$programs/"
"$programs/prometheus" --version | head -1
