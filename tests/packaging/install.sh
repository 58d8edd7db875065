#!/usr/bin/env bash
# Makes the Debian system into which the packaging tests install: the smallest one that has what the package depends on.
set -euo pipefail
cd "$(dirname "$0")"
[ ! -e root.tar ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase \
    --include=ca-certificates,systemd-standalone-sysusers,systemd-standalone-tmpfiles \
    bookworm "$work/root" >"$work/log" || { cat "$work/log" >&2; exit 1; }
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
tar -C "$work/root" --one-file-system -cf "$work/root.tar" .
mv "$work/root.tar" root.tar
