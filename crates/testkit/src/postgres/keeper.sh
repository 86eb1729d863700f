# Keeps a PostgreSQL in a folder of its own until standard input ends, as it does with the process that holds the other end,
# however that ends. It answers each line that it is told with one line: at first with the folder, which has the socket.
set -eu
umask 077
cd /
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
dir=$(mktemp -d "${TMPDIR:-/tmp}/wrenn-postgres.XXXXXX")
server=
trap 'end; rm -rf "$dir"' EXIT
# An answer that nobody waits for any more ends it, too, but not in the middle.
trap '' PIPE
exec 2>"$dir/log"

begin() {
    # Nothing has to outlive the machine.
    "$bin/postgres" -D "$dir/data" -k "$dir" -c fsync=off -c max_connections=300 "$@" >&2 </dev/null &
    server=$!
    until "$bin/pg_isready" -q -h "$dir" -p "${port:-5432}"; do
        kill -0 "$server"
        sleep 0.02
    done
}

# Connections are cut off, and what they were doing is undone.
end() {
    [ -z "$server" ] || kill -INT "$server" || true
    wait
    server=
}

# It is nobody's but its own, and good for this address.
certify() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=$1" \
        -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
        -keyout "$dir/$1.key" -out "$dir/$1.crt" >&2
}

# Over loopback, to who comes in TLS and knows a password.
over_tls() {
    port=$1
    certify server
    certify stranger
    echo 'local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256' >"$dir/data/pg_hba.conf"
    begin -c listen_addresses=127.0.0.1 -c "port=$port" -c ssl=on \
        -c "ssl_cert_file=$dir/server.crt" -c "ssl_key_file=$dir/server.key"
}

"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >&2
begin -c listen_addresses=
echo "$dir"
while read -r word name; do
    case $word in
    database) "$bin/createdb" -h "$dir" -U postgres "$name" ;;
    start) begin -c listen_addresses= ;;
    over_tls) end && over_tls "$name" ;;
    stop) end ;;
    esac
    echo done
done
