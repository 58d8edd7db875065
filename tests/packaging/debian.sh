#!/usr/bin/env bash
# Installs, starts, upgrades, removes and purges the package in a Debian system, and in an image of one.
#
#   unshare --mount --net --pid --fork --kill-child --mount-proc tests/packaging/debian.sh WORK PACKAGE
#
# WORK     an empty folder
# PACKAGE  the package
set -euo pipefail
work=$1
package=$2
here=$(dirname "$0")
source "$here/common.sh"
root=$work/root
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
unset PLEXUS_SERVER_NAME

# inside COMMAND...: runs it in the system
inside() {
    chroot "$root" "$@"
}

# dpkg_says FILE ARGUMENTS...: runs dpkg in the system, with its words in FILE
dpkg_says() {
    local says=$1
    shift
    inside dpkg "$@" >"$says" 2>&1 || { cat "$says" >&2; fail "dpkg $*"; }
}

# Mode, owner and group of a file in the system.
permissions() {
    inside stat --format '%a %U:%G' "$1"
}

# Contents of what an administrator owns.
state() {
    (cd "$root" && find etc/plexus var/lib/plexus/homeserver.signing.key -type f -print0 | sort -z | xargs -0 sha256sum)
}

# Starts the server as its unit does.
start_server() {
    local command
    command=$(sed -n 's/^ExecStart=//p' "$root/lib/systemd/system/plexus.service")
    # shellcheck disable=SC2086
    chroot --userspec=plexus:plexus "$root" $command >>"$work/server.log" 2>&1 &
    server=$!
    wait_for_server
}

is_enabled() {
    [ -L "$root/etc/systemd/system/multi-user.target.wants/plexus.service" ]
}

ip link set lo up
mount -t tmpfs -o size=3g tmpfs "$work"
mkdir "$root"
tar -C "$root" -xf "$here/root.tar"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
mkdir "$root/packages"
cp "$package" "$root/packages/plexus.deb"
# What comes next.
dpkg-deb --raw-extract "$package" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb --build -Znone "$work/next" "$root/packages/next.deb" >/dev/null
files() {
    (cd "$root" && find . -path ./proc -prune -o -path ./dev -prune -o -path ./var/cache -prune -o \
        -path ./var/lib/dpkg -prune -o -print) | sort
}
files >"$work/before"

step "installed without a name, it is not started"
dpkg_says "$work/install" --install /packages/plexus.deb
expect_in "the server has no name and was not started" "$work/install"
! is_enabled || fail "the service is enabled"
expect "/etc/plexus" "750 root:plexus" "$(permissions /etc/plexus)"
expect "homeserver.yaml" "640 root:plexus" "$(permissions /etc/plexus/homeserver.yaml)"
expect "server_name.yaml" "640 root:plexus" "$(permissions /etc/plexus/conf.d/server_name.yaml)"
expect "/var/lib/plexus" "700 plexus:plexus" "$(permissions /var/lib/plexus)"
expect "/var/log/plexus" "750 plexus:plexus" "$(permissions /var/log/plexus)"
expect "the signing key" "600 plexus:plexus" "$(permissions /var/lib/plexus/homeserver.signing.key)"
inside plexus config check -c /etc/plexus/homeserver.yaml -c /etc/plexus/conf.d >"$work/check" 2>&1 && fail "no name passed"
expect_in "conf.d/server_name.yaml:2: server_name: found \"\"" "$work/check"

step "a name that is not one is refused"
PLEXUS_SERVER_NAME="it's example" inside dpkg-reconfigure plexus 2>"$work/wrong"
expect_in "it's example is not the name of a server" "$work/wrong"
expect "server_name" "server_name: ''" "$(tail -1 "$root/etc/plexus/conf.d/server_name.yaml")"
! is_enabled || fail "the service is enabled"

step "with a name it is"
PLEXUS_SERVER_NAME=packaged.example inside dpkg-reconfigure plexus 2>&1
expect "server_name" "server_name: 'packaged.example'" "$(tail -1 "$root/etc/plexus/conf.d/server_name.yaml")"
is_enabled || fail "the service is not enabled"
inside plexus config check -c /etc/plexus/homeserver.yaml -c /etc/plexus/conf.d
start_server
inside plexus register -c /etc/plexus/homeserver.yaml -u alice -p "a word" --admin
expect "the login" 200 "$(login alice "a word")"
stop_server

step "an upgrade keeps what was edited"
echo "max_upload_size: 60M" >>"$root/etc/plexus/homeserver.yaml"
echo "enable_registration: false" >"$root/etc/plexus/conf.d/mine.yaml"
state >"$work/state"
PLEXUS_SERVER_NAME=other.example dpkg_says "$work/upgrade" --install /packages/next.deb
state | diff "$work/state" -
is_enabled || fail "the service is not enabled"
start_server
expect "the login after the upgrade" 200 "$(login alice "a word")"
stop_server
PLEXUS_SERVER_NAME=other.example inside dpkg-reconfigure plexus
state | diff "$work/state" -

step "removing keeps configuration and data"
dpkg_says "$work/remove" --remove plexus
state | diff "$work/state" -
dpkg_says "$work/again" --install /packages/plexus.deb
state | diff "$work/state" -
start_server
expect "the login after the second installation" 200 "$(login alice "a word")"
stop_server

step "purging removes configuration, and says what it keeps"
dpkg_says "$work/purge" --purge plexus
expect_in "kept the files in /etc/plexus that the package had not made" "$work/purge"
expect_in "kept /var/lib/plexus" "$work/purge"
expect "/etc/plexus" "$(printf '%s\n' conf.d conf.d/mine.yaml)" "$(cd "$root/etc/plexus" && find . -mindepth 1 -printf '%P\n')"
expect "what debconf remembers" "" "$(inside debconf-show plexus)"
files | diff "$work/before" - | grep '^[<>]' | grep -v '^> ./var/lib/plexus/\|^> ./var/lib/debconf\|-$' >"$work/left" || true
expect "what is left" "$(printf '> %s\n' ./etc/plexus ./etc/plexus/conf.d ./etc/plexus/conf.d/mine.yaml ./var/lib/plexus)" "$(cat "$work/left")"

step "an installation after that has the old key, and a name by the environment"
rm -r "$root/etc/plexus"
PLEXUS_SERVER_NAME=packaged.example dpkg_says "$work/back" --install /packages/plexus.deb
is_enabled || fail "the service is not enabled"
grep var/lib "$work/state" | (cd "$root" && sha256sum --check --quiet)
start_server
expect "the login after the purge" 200 "$(login alice "a word")"
stop_server

step "an image that is made from outside: only the image changes, and copies of it share no key"
mount -o remount,bind,ro /
image=$work/image
mkdir "$image"
tar -C "$image" -xf "$here/root.tar"
into_image() {
    # dpkg complains that it cannot write to this machine's log.
    dpkg --root="$image" --force-script-chrootless "$@" >"$work/made" 2>&1 || { cat "$work/made" >&2; fail "dpkg --root"; }
}
PLEXUS_SERVER_NAME=image.example into_image --install "$root/packages/plexus.deb"
expect "server_name" "server_name: 'image.example'" "$(tail -1 "$image/etc/plexus/conf.d/server_name.yaml")"
expect "homeserver.yaml" "640 root:plexus" "$(chroot "$image" stat --format '%a %U:%G' /etc/plexus/homeserver.yaml)"
[ -L "$image/etc/systemd/system/multi-user.target.wants/plexus.service" ] || fail "the service is not enabled"
expect "data" "" "$(ls "$image/var/lib/plexus")"
into_image --purge plexus
[ ! -e "$image/etc/plexus" ] && [ ! -e "$image/var/lib/plexus" ] || fail "purging left something"
