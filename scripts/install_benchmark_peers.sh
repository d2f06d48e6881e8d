#!/usr/bin/env bash
# Installs the tools that `make bench-peers` compares with, and what it runs them with; elsewhere than on Debian, names them.
set -euo pipefail

# command that must be there -> package that brings it
declare -A needed=(
  [bpftrace]=bpftrace
  [funccount-bpfcc]=bpfcc-tools
  [perf]=linux-perf
  [strace]=strace
  [bpftool]=bpftool     # makes bcc's headers
  [gcc]=gcc             # the workloads
  [unshare]=util-linux  # namespaces for every run
)
missing=()
for command in "${!needed[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("${needed[$command]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq
  # One by one: a peer that this distribution lacks is left out of the table, which says so.
  for package in "${missing[@]}"; do
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$package" >/dev/null ||
      echo "cannot install $package; it will not be compared" >&2
  done
else
  echo "not installed, so not compared: ${missing[*]} (Debian's names); install them as root" >&2
fi
