#!/usr/bin/env bash
# Builds Plexus as its releases are built: once with counters, and, when plexus-bench has driven that one on this machine,
# once more by what was counted. What ran becomes faster, and what never ran smaller and out of the way. Takes half an hour on two cores.
#
#   bench/release.sh            the last line is the path of the binary
#
# SYNAPSE_VENV   a Python environment with psycopg2: then it is driven on PostgreSQL too
#
# Needs `rustup component add llvm-tools`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
python=${SYNAPSE_VENV:+$SYNAPSE_VENV/bin/}python3
host=$(rustc -vV | sed -n 's/^host: //p')
merge=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
if [ ! -x "$merge" ]; then
    echo "llvm-profdata is missing: rustup component add llvm-tools" >&2
    exit 1
fi
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# With --target the flags are not those of build scripts and macros.
build() {
    CARGO_TARGET_DIR=$target/$1 RUSTFLAGS=$2 cargo build --profile guided -p plexus-server --target "$host" >&2
    binary=$target/$1/$host/guided/plexus
}
CARGO_TARGET_DIR=$target cargo build --release -p plexus-bench >&2
build counting "-Cprofile-generate=$work/counts"
ulimit -n "$(ulimit -Hn)"
PLEXUS_BIN=$binary PLEXUS_BENCH_BIN=$target/release/plexus-bench "$python" "$here/train.py" >&2
"$merge" merge --output "$work/profile" "$work/counts"
PLEXUS_GUIDED=1 build guided "-Cprofile-use=$work/profile -Clink-arg=-Wl,-z,keep-text-section-prefix"
echo "$binary"
