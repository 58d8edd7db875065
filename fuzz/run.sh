#!/usr/bin/env bash
# fuzz/run.sh SECONDS [TARGET...]: runs fuzz targets (all by default) for so long each, as many at once as there are cores.
# Ends with the first failure's status; what failed is in fuzz/artifacts. Works with the stable compiler: libFuzzer needs the
# coverage instrumentation only, and memory errors are not what safe code is fuzzed for.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=($(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml))
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
# With --target, build scripts and macros are built without the instrumentation.
cargo build --release --locked --target "$host"

run() {
    mkdir -p "corpus/$1" artifacts
    seeds=()
    [ -d "seeds/$1" ] && seeds=("seeds/$1")
    "target/$host/release/$1" "corpus/$1" "${seeds[@]}" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 \
        -artifact_prefix="artifacts/$1-" -print_final_stats=1 >"artifacts/$1.log" 2>&1 || {
        tail -n 40 "artifacts/$1.log"
        echo "fuzz target $1 failed" >&2
        return 1
    }
    echo "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "artifacts/$1.log") runs"
}
export -f run
export host seconds
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run {}'
