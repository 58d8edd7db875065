#!/usr/bin/env bash
# Builds Plexus as its releases are built: once with counters, and, when plexus-bench has driven that one on this machine,
# once more by what was counted. What ran becomes faster, and what never ran smaller and out of the way. Takes half an hour on
# two cores.
#
#   bench/release.sh            prints the path of the binary; all else goes to the standard error
#
# SYNAPSE_VENV   a Python environment with psycopg2: then it is driven on PostgreSQL too
#
# Needs `rustup component add llvm-tools`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
python=${SYNAPSE_VENV:+$SYNAPSE_VENV/bin/}python3
host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
if [ ! -x "$profdata" ]; then
    echo "llvm-profdata is missing: rustup component add llvm-tools" >&2
    exit 1
fi
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# With --target the flags are not those of build scripts and macros.
build() {
    CARGO_TARGET_DIR=$target/$1 RUSTFLAGS=$2 cargo build --profile dist -p plexus-server --target "$host" >&2
    binary=$target/$1/$host/dist/plexus
}
CARGO_TARGET_DIR=$target cargo build --release -p plexus-bench >&2
build counting "-Cprofile-generate=$work/counts"
ulimit -n "$(ulimit -Hn)"
PLEXUS_BIN=$binary PLEXUS_BENCH_BIN=$target/release/plexus-bench "$python" "$here/train.py" >&2
"$profdata" merge --output "$work/profile" "$work/counts"

# The functions that ran, those that ran most first: side by side they take fewer pages.
"$profdata" show --all-functions --counts "$work/profile" | awk '
    /^  [^ ]/ { name = $1; sub(/:$/, "", name); sub(/^[^;]*;/, "", name) }
    /^    (Function count|Block counts):/ {
        sub(/^[^:]*:/, ""); gsub(/[^0-9]+/, " "); most = 0; count = split($0, counts, " ")
        for (at = 1; at <= count; at++) if (counts[at] + 0 > most) most = counts[at] + 0
        if (most > 0) printf "%.0f %s\n", most, name
    }' | sort -rn | awk '!seen[$2]++ { print $2 }' >"$work/order"
link=
# Where Rust links with LLVM's linker, which alone takes an order.
if [ "$host" = x86_64-unknown-linux-gnu ]; then
    for words in -z,keep-text-section-prefix "--symbol-ordering-file=$work/order" --no-warn-symbol-ordering; do
        link="$link -Clink-arg=-Wl,$words"
    done
fi
PLEXUS_GUIDED=1 build guided "-Cprofile-use=$work/profile$link"
echo "$binary"
