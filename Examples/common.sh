# For the examples' scripts: a folder that goes with them, a Redis in it, and an end that leaves nothing behind.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/singleflight-example-XXXXXX")
processes=()

say() { printf '%s: %s\n' "$(basename "$(dirname "$0")")" "$*"; }

fail() {
    say "$*" >&2
    exit 1
}

# Called at the end, however that comes.
finish() {
    local status=$?
    local process
    # One that is stopped hears of its end when it goes on.
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null && kill -CONT "$process" 2>/dev/null || true; done
    for process in "${processes[@]}"; do wait "$process" 2>/dev/null || true; done
    rm -rf "$folder"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" 2>/dev/null; do
        ((SECONDS < end)) || fail "waited in vain for $what"
        sleep 0.1
    done
}

# Sets `singleflight`: the tool, built here unless SINGLEFLIGHT says where one is.
build_tool() {
    singleflight=${SINGLEFLIGHT:-}
    [[ -z $singleflight ]] || return 0
    swift build --package-path "$root" --product singleflight
    singleflight=$(swift build --package-path "$root" --show-bin-path)/singleflight
}

# A Redis that listens on a socket in the folder only. Sets REDIS_URL.
start_redis() {
    redis-server --port 0 --unixsocket "$folder/redis" --dir "$folder" --save '' --maxmemory-policy noeviction \
        >"$folder/redis.log" 2>&1 &
    processes+=($!)
    wait_for 10 "Redis" test -S "$folder/redis"
    export REDIS_URL="redis+unix://$folder/redis"
}

# A PostgreSQL of one's own that listens on a socket in the folder only. Sets what psql and libpq look at.
start_postgres() {
    local bin
    bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    [[ -n $bin ]] || bin=$(dirname "$(command -v initdb)")
    # PostgreSQL refuses to run as root.
    local as=()
    if [[ $(id -u) -eq 0 ]]; then
        chown postgres "$folder"
        as=(runuser -u postgres --)
    fi
    "${as[@]}" "$bin/initdb" -D "$folder/postgres" -U postgres -A trust --no-sync >"$folder/initdb.log"
    "${as[@]}" "$bin/postgres" -D "$folder/postgres" -k "$folder" -c listen_addresses='' -c fsync=off \
        >"$folder/postgres.log" 2>&1 &
    processes+=($!)
    export PGHOST=$folder PGUSER=postgres PGDATABASE=postgres
    wait_for 20 "PostgreSQL" psql -X -q -c 'SELECT 1' -o /dev/null
}
