#!/usr/bin/env bash
# Builds the image of contrib/container around a program that is built already, and runs it.
#
#   unshare --mount --net --pid --fork --kill-child --mount-proc tests/packaging/container.sh WORK PROGRAM
#
# WORK     an empty folder
# PROGRAM  the program
set -euo pipefail
work=$1
program=$2
here=$(dirname "$0")
source "$here/common.sh"
export BUILDAH_ISOLATION=chroot

# engine ARGUMENTS...: buildah, with all that it keeps in $work
engine() {
    buildah --root "$work/storage" --runroot "$work/run" "$@"
}

# image NAME FOLDER
image() {
    local container
    container=$(engine from scratch)
    engine add --quiet "$container" "$2" / >/dev/null
    engine commit --quiet "$container" "localhost/$1" >/dev/null
    engine rm "$container" >/dev/null
}

# inside COMMAND...: runs it in the container, whose volume stays between runs
inside() {
    engine run "$container" -- "$@"
}

# plexus COMMAND (the isolation does not use the entry point)
plexus() {
    inside plexus "$@"
}

ip link set lo up
mount -t tmpfs -o size=3g tmpfs "$work"
mkdir -p "$work/base" "$work/program/etc/ssl/certs" "$work/program/data" "$work/context"
tar -C "$work/base" -xf "$here/root.tar"
cp "$program" "$work/program/plexus"
cp "$work/base/etc/ssl/certs/ca-certificates.crt" "$work/program/etc/ssl/certs/"
image base "$work/base"
image program "$work/program"

step "the image is built"
engine build --quiet --format docker --file "$here/../../contrib/container/Containerfile" --tag localhost/plexus \
    --build-arg BASE=localhost/base --build-arg PROGRAM=localhost/program "$work/context" >/dev/null
# It is given no compiler: a stage that had to be built would fail.
inspect() {
    engine inspect --type image --format "{{.Docker.Config.$1}}" localhost/plexus
}
expect "the user" 991:991 "$(inspect User)"
expect "the volume" "map[/data:{}]" "$(inspect Volumes)"
expect "the entry point" "[plexus]" "$(inspect Entrypoint)"
expect "the command" "[serve -c /data/homeserver.yaml]" "$(inspect Cmd)"
expect "the health check" "[CMD plexus status -c /data/homeserver.yaml]" "$(inspect Healthcheck.Test)"

step "it runs nothing without a configuration"
container=$(engine from localhost/plexus)
plexus --version
plexus serve -c /data/homeserver.yaml 2>"$work/refused" && fail "a server started"
expect_in "there is no configuration file /data/homeserver.yaml" "$work/refused"
plexus status -c /data/homeserver.yaml >"$work/health" 2>&1 && fail "it is healthy without a server"

step "it makes a configuration, and serves"
plexus generate-config --server-name container.example --config-dir /data --open-private-ports
expect "the configuration" "600 991:991" "$(inside stat --format '%a %u:%g' /data/homeserver.yaml)"
plexus serve -c /data/homeserver.yaml >"$work/server.log" 2>&1 &
server=$!
wait_for_server
plexus status -c /data/homeserver.yaml
plexus register -c /data/homeserver.yaml -u alice -p "a word" --admin
expect "the login" 200 "$(login alice "a word")"
plexus stop -c /data/homeserver.yaml
wait "$server" || fail "the server did not end well"
