# Sourced by the scripts beside it: runs what fetches packages, and says how far it is.

# Pauses in seconds before the next try. A registry that did not answer for a minute ended a
# whole run; any other failure ends it at once.
SETUP_PAUSES=${SETUP_PAUSES-15 30 60 120}
unreachable='name resolution|[Cc]ould not resolve|[Cc]onnection (refused|reset|timed out|failed)'
unreachable+='|Could not connect|Network is unreachable|No route to host|(Read|Connect)Timeout'
unreachable+='|50[234] (Bad|Service|Gateway)'

# watch NAME LOG COMMAND...: runs COMMAND with its output in LOG; each 15 s that it is at work, in
# NAME's words: the lines of pip and apt are for LOG.
watch() {
    local name=$1 log=$2 start=$SECONDS said=0 every=${SETUP_EVERY-15} pid
    shift 2
    "$@" </dev/null >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if [ $((SECONDS - start)) -ge $((said + every)) ]; then
            said=$((SECONDS - start))
            echo "setup: $name, $said s so far" >&2
        fi
    done
    wait "$pid"
}

# fetch NAME LOG COMMAND...: as watch; once more after a pause where the network was to blame.
fetch() {
    local name=$1 log=$2 pause
    for pause in $SETUP_PAUSES; do
        watch "$@" && return 0
        grep -qE "$unreachable" "$log" || return 1
        echo "setup: $name: $(grep -oE "$unreachable" "$log" | tail -n 1); again in $pause s" >&2
        sleep "$pause"
    done
    watch "$@"
}
