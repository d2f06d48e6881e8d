#!/usr/bin/env bash
# Builds the collector of scripts/collector/ as build/stack/otelcol, with the collector's own builder; once for each
# manifest. Modules come from where GOPROXY says, and are held against go.sum.
#
# To change a version: edit manifest.yaml, then `scripts/build_collector.sh --update`, which writes go.mod and go.sum.
set -euo pipefail
cd "$(dirname "$0")/.."
source=scripts/collector
program=build/stack/otelcol
builder=go.opentelemetry.io/collector/cmd/builder@v0.155.0

key=$(cat <(echo "$builder") "$source"/manifest.yaml "$source"/go.mod "$source"/go.sum | sha256sum | cut -d' ' -f1)
[ "${1:-}" != --update ] && [ -x "$program" ] && [ "$(cat "$program.key" 2>/dev/null)" = "$key" ] && exit 0

if ! command -v go >/dev/null; then
  echo "the collector of the tests is built by Go 1.25 or newer, and there is no go here" >&2
  exit 1
fi
echo "building an OpenTelemetry Collector, once; this takes some minutes" >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p build/stack
export CGO_ENABLED=0
# Only the sources are generated: the builder's own `go mod tidy` would fetch what only the tests of others need.
sed "s|^dist:|&\n  output_path: $work|" "$source/manifest.yaml" >"$work.yaml"
go run "$builder" --config "$work.yaml" --skip-get-modules --skip-compilation >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
rm "$work.yaml"
if [ "${1:-}" = --update ]; then
  (cd "$work" && go mod init otelcol && go mod edit -go=1.25.0 && sed -n 's/.*gomod: \(\S*\) \(\S*\)/-require=\1@\2/p' "$OLDPWD/$source/manifest.yaml" |
    xargs go mod edit)
  (cd "$work" && go build -mod=mod -o otelcol .)
  cp "$work"/go.mod "$work"/go.sum "$source/"
  exec "$0"
fi
cp "$source"/go.mod "$source"/go.sum "$work/"
(cd "$work" && go build -mod=readonly -trimpath -ldflags='-s -w' -o otelcol .) >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
mv "$work/otelcol" "$program"
echo "$key" >"$program.key"
