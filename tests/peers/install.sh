#!/usr/bin/env bash
# Installs the servers that the federation tests talk to: Synapse, from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
python3 -m venv venv
venv/bin/pip install --quiet --requirement requirements.txt
