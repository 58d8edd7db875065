# For the scripts of the packaging tests, which run in mount and network namespaces of their own.

fail() {
    echo "FAILED: $1" >&2
    exit 1
}

step() {
    echo "== $1"
}

# expect WHAT WANTED FOUND
expect() {
    [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
}

# expect_in TEXT FILE
expect_in() {
    grep -qF -- "$1" "$2" || { cat "$2" >&2; fail "$2 does not say '$1'"; }
}

# Waits at most 20 s until the server $server listens.
wait_for_server() {
    for _ in $(seq 200); do
        ! curl --silent --fail --output /dev/null http://127.0.0.1:8008/_matrix/client/versions || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/server.log" >&2
    fail "the server does not listen"
}

stop_server() {
    kill -TERM "$server"
    wait "$server" || fail "the server did not end well"
}

# login USER PASSWORD: prints the status
login() {
    curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8008/_matrix/client/v3/login --data \
        '{"type":"m.login.password","identifier":{"type":"m.id.user","user":"'"$1"'"},"password":"'"$2"'"}'
}
