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
    "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off -c max_connections=300 >&2 </dev/null &
    server=$!
    until "$bin/pg_isready" -q -h "$dir"; do
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

"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >&2
begin
echo "$dir"
while read -r word name; do
    case $word in
    database) "$bin/createdb" -h "$dir" -U postgres "$name" ;;
    start) begin ;;
    stop) end ;;
    esac
    echo done
done
