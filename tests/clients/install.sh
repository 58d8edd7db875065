#!/usr/bin/env bash
# Installs the client libraries that the conversation tests drive, beside their scripts: matrix-js-sdk with the Node.js it
# needs and Element Call, from npm, matrix-nio and bridges, from PyPI, and matrix-sdk, from crates.io.
set -euo pipefail
cd "$(dirname "$0")"
(cd js-sdk && npm ci --no-audit --no-fund)
(cd element-call && npm ci --no-audit --no-fund)
python3 -m venv nio/.venv
nio/.venv/bin/pip install --quiet --requirement nio/requirements.txt
python3 -m venv bridges/.venv
bridges/.venv/bin/pip install --quiet --requirement bridges/requirements.txt
(cd rust-sdk && cargo build --quiet --locked)
