#!/usr/bin/env bash
# Installs the Debian packages that the demo, the tests and the object build use; elsewhere, names them.
set -euo pipefail

# command that must be there -> package that brings it
declare -A needed=(
  [openssl]=openssl   # the demo's target
  [gcc]=gcc           # the tests' targets
  [gcov]=gcc          # what they count themselves
  [nm]=binutils       # which functions are in them
  [make]=make         # the programs of `make agreement`, as are the next three
  [bzip2]=bzip2
  [xz]=xz-utils
  [valgrind]=valgrind
  [strace]=strace     # the tests' independent count of system calls
  [clang]=clang       # the object build
  [llvm-strip]=llvm   # likewise
  [bpftool]=bpftool   # likewise
  [setpriv]=util-linux
  [jq]=jq
)
missing=()
for command in "${!needed[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("${needed[$command]}")
done
[ -e /usr/include/bpf/bpf_helpers.h ] || missing+=(libbpf-dev)
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
compgen -G "/usr/include/*/sys/sdt.h" >/dev/null || [ -e /usr/include/sys/sdt.h ] || missing+=(systemtap-sdt-dev)
[ -e /usr/lib/python3/dist-packages/bcc/libbcc.py ] || missing+=(python3-bpfcc) # the BCC backend
python3 -m ensurepip --version >/dev/null 2>&1 || missing+=(python3-venv)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]}" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "some tests and the object build need: ${missing[*]} (Debian's names); install them as root" >&2
fi
