#!/usr/bin/env bash
# conversation.sh URL ALICE BOB: nheko, without a screen, is Alice's client; Bob speaks through curl. Prints a line for each step.
# Run in a D-Bus session of its own (dbus-run-session), by which nheko says what it shows.
set -euo pipefail
url=$1 alice=$2 bob=$3
api=$url/_matrix/client/v3
folder=$(mktemp -d)
nheko=
trap '[ -z "$nheko" ] || kill "$nheko"; rm -rf "$folder"' EXIT
export HOME=$folder XDG_RUNTIME_DIR=$folder/run QT_QPA_PLATFORM=offscreen QT_QUICK_BACKEND=software LANG=C.UTF-8
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
mkdir -m 700 "$folder/run"
mkdir -p "$folder/.config/nheko"

register() {
    curl -sf "$api/register" -d "{\"username\":\"$1\",\"password\":\"secret of $1\",\"auth\":{\"type\":\"m.login.dummy\"}}"
}
# as_bob METHOD PATH BODY
as_bob() {
    curl -sf -X "$1" -H "Authorization: Bearer $bobs_token" "$api/$2" -d "$3"
}
# say ROOM TEXT
say() {
    as_bob PUT "rooms/$1/send/m.room.message/$RANDOM$RANDOM" "{\"msgtype\":\"m.text\",\"body\":\"$2\"}" >/dev/null
}
# create BODY: prints the room's id.
create() {
    as_bob POST createRoom "$1" | jq -r .room_id
}
call() {
    gdbus call --session -d im.nheko.Nheko -o / -m "im.nheko.Nheko.$1" "${@:2}" 2>&1
}
# until_seen WHAT COMMAND...: waits until the command succeeds.
until_seen() {
    local what=$1
    shift
    for _ in $(seq 200); do
        if "$@"; then
            echo "ok - $what"
            return
        fi
        sleep 0.3
    done
    echo "not seen: $what; nheko shows $(call rooms)" >&2
    tail -n 30 "$folder/log" >&2
    exit 1
}
shows() {
    call rooms | grep -qE "$1"
}
shows_not() {
    ! shows "$1"
}
start() {
    nheko >>"$folder/log" 2>&1 &
    nheko=$!
}
stop() {
    kill "$nheko"
    wait "$nheko" 2>/dev/null || true
    nheko=
}

account=$(register "$alice")
bobs_token=$(register "$bob" | jq -r .access_token)
alices_id=$(jq -r .user_id <<<"$account")
cat >"$folder/.config/nheko/nheko.conf" <<END
[General]
run_without_secure_secrets_service=true
[auth]
access_token=$(jq -r .access_token <<<"$account")
device_id=$(jq -r .device_id <<<"$account")
home_server=$url
user_id=$alices_id
[user]
expose_dbus_api=true
END

tea=$(create '{"name":"Tea","preset":"public_chat","room_version":"11"}')
curl -sf -H "Authorization: Bearer $(jq -r .access_token <<<"$account")" "$api/join/$tea" -d '{}' >/dev/null
start
synced() {
    grep -q 'initial sync completed' "$folder/log"
}
until_seen "sync for the first time" synced
# Only now it has what it needs to answer on D-Bus.
stop
start
until_seen "show a room under its name" shows "'Tea'"
say "$tea" hello
until_seen "count an unread message" shows "'Tea', '[^']*', 1\)"

alias="cake-$bob"
cake=$(create "{\"name\":\"Cake\",\"preset\":\"public_chat\",\"room_version\":\"11\",\"room_alias_name\":\"$alias\"}")
call joinRoom "#$alias:${alices_id#*:}" >/dev/null
until_seen "join a room by its alias" shows "'Cake'"
as_bob GET "rooms/$cake/joined_members" '' | jq -e --arg alice "$alices_id" '.joined | has($alice)' >/dev/null

call setStatusMessage 'at tea' >/dev/null
has_status() {
    as_bob GET "presence/$alices_id/status" '' | jq -e '.status_msg == "at tea"' >/dev/null
}
until_seen "set a status" has_status

stop
as_bob PUT "rooms/$tea/state/m.room.name" '{"name":"Tea house"}' >/dev/null
say "$tea" "while you were away"
start
until_seen "catch up with what came meanwhile" shows "'Tea house', '[^']*', [2-9]\)"
as_bob POST "rooms/$cake/kick" "{\"user_id\":\"$alices_id\"}" >/dev/null
until_seen "be removed from a room" shows_not "'Cake'"
