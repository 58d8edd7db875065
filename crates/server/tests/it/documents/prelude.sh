# What the commands of the documents find: a network, the services that pages ask for, and few surprises.
umask 022
ip link set lo up
# An address that is not the machine itself in the eyes of a TURN server, and the names of the pages.
ip link add eth0 type veth peer name eth1 &&
    ip addr add 192.0.2.10/24 dev eth0 && ip link set eth0 up && ip link set eth1 up || exit 1
echo "127.0.0.1 localhost
192.0.2.10 example.com matrix.example.com turn.example.com proxy.example.com" >"$STEPS/hosts"
mount --bind "$STEPS/hosts" /etc/hosts || exit 1

# Notes the exit code of a step, and ends the page at the first that is not as expected.
ended() {
    echo "$3" >"$STEPS/$1.code"
    [ "$3" = "$2" ] || exit 1
}

write_file() {
    mkdir -p "$(dirname "$1")" && cp "$2" "$1"
}

# Replaces the options that the file $1 names in plexus-data/homeserver.yaml.
replace_options() {
    awk 'NR == FNR { if (match($0, /^[a-z_]+:/)) named[substr($0, 1, RLENGTH)] = 1; next }
        /^[^ #-]/ { match($0, /^[a-z_]+:/); left_out = substr($0, 1, RLENGTH) in named }
        !left_out' "$1" plexus-data/homeserver.yaml >replaced.yaml &&
        cat "$1" >>replaced.yaml && mv replaced.yaml plexus-data/homeserver.yaml &&
        plexus config check
}

# Checks the options in the file $1 after a configuration that is complete.
check_options() {
    [ -e "$STEPS/base" ] || plexus generate-config --server-name example.com --config-dir "$STEPS/base" || return
    plexus config check -c "$STEPS/base/homeserver.yaml" -c "$1"
}

# Stands in for the program, which containers lack: `sudo -u postgres COMMAND`.
sudo() {
    [ "$1" = -u ] || return 1
    local user=$2
    shift 2
    PGUSER=$user "$@"
}

# Starts a PostgreSQL where Debian's listens, and nobody else sees it.
start_postgresql() {
    local programs
    programs=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
    PATH=$PATH:$programs
    mkdir -p /run/postgresql && mount -t tmpfs none /run/postgresql && chown postgres /run/postgresql || return
    local as_postgres="setpriv --reuid=postgres --regid=postgres --clear-groups"
    (cd /run/postgresql && $as_postgres initdb -D data -U postgres -A trust -E UTF8 --no-sync >/dev/null &&
        $as_postgres pg_ctl -D data -w -l log start -o "-c unix_socket_directories=/run/postgresql" >/dev/null)
}

# Starts nginx with the contributed files, as matrix.example.com and example.com, with certificates of an authority that
# everything here trusts.
start_nginx() {
    local at=$STEPS/nginx key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    mkdir "$at" && cp "$CONTRIB"/reverse-proxy/nginx*.conf "$at" &&
        openssl req -x509 $key -keyout "$at/ca.key" -out "$at/ca.pem" -subj /CN=authority -days 2 2>/dev/null &&
        openssl req -x509 $key -keyout "$at/privkey.pem" -out "$at/fullchain.pem" -subj /CN=matrix.example.com \
            -addext subjectAltName=DNS:matrix.example.com,DNS:example.com -addext basicConstraints=CA:FALSE \
            -CA "$at/ca.pem" -CAkey "$at/ca.key" -days 2 2>/dev/null || return
    export SSL_CERT_FILE=$at/ca.pem CURL_CA_BUNDLE=$at/ca.pem
    sed -i "s#/etc/letsencrypt/live/[a-z.]*/#$at/#" "$at"/nginx*.conf
    echo "pid $at/pid; error_log $at/errors; events {}
http { access_log off; include $at/nginx.conf; include $at/nginx-delegation.conf; }" >"$at/main"
    nginx -c "$at/main"
}

# Starts squid with the configuration $1, and the places that it needs in addition.
start_squid() {
    local at=$STEPS/squid
    # Started by root it becomes a user of its own.
    mkdir --mode=777 "$at" && cat "$1" - >"$at/squid.conf" <<END || return
pid_filename $at/pid
cache_log $at/cache.log
access_log none
coredump_dir $at
dns_timeout 1 second
END
    chmod 711 "$STEPS" "$STEPS/.."
    squid -N -n "plexus$(tr -dc a-z </dev/urandom | head -c 8)" -f "$at/squid.conf" &
    curl --silent --output /dev/null --retry 30 --retry-connrefused --retry-delay 1 http://proxy.example.com:3128/
}
