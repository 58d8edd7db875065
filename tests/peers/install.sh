#!/usr/bin/env bash
# Installs the servers that tests talk to: Synapse, moto, which is an S3 server, and aiosmtpd, a mail server, from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
python3 -m venv venv
venv/bin/pip install --quiet --requirement requirements.txt
