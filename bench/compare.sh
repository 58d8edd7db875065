#!/usr/bin/env bash
# Measures Plexus beside Synapse, each on SQLite and on PostgreSQL, all fully durable, and writes docs/benchmarks.md and
# docs/benchmarks.html.
#
#   bench/compare.sh            in about three quarters of an hour
#   bench/compare.sh --full     in some hours: more and longer rounds
#
# PLEXUS_BIN, PLEXUS_BENCH_BIN   built binaries; otherwise `cargo build --release` makes them. The figures in docs/ are of
#                                PLEXUS_BIN=$(bench/release.sh)
# SYNAPSE_VENV                   a Python environment with matrix-synapse and psycopg2; otherwise one is made in bench/venv
#
# More options: bench/compare.sh --help
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
case " $* " in
*" --help "* | *" -h "*) exec python3 "$here/compare.py" --help ;;
esac

venv=${SYNAPSE_VENV:-$here/venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet 'matrix-synapse==1.163.*' psycopg2-binary
fi
if [ -z "${PLEXUS_BIN:-}" ] || [ -z "${PLEXUS_BENCH_BIN:-}" ]; then
    (cd "$root" && cargo build --release -p plexus-server -p plexus-bench)
    built=${CARGO_TARGET_DIR:-$root/target}/release
    export PLEXUS_BIN=${PLEXUS_BIN:-$built/plexus} PLEXUS_BENCH_BIN=${PLEXUS_BENCH_BIN:-$built/plexus-bench}
fi
# Each open long-poll is a descriptor, on both sides.
ulimit -n "$(ulimit -Hn)"
exec "$venv/bin/python" "$here/compare.py" "$@"
