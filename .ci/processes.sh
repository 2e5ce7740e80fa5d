# Sourced by start.sh and stop.sh: which of our processes run. A pid file alone proves nothing (the number
# may have been given to another program since), so the process itself is asked.
# shellcheck shell=bash

# is_ours PID NAME: is PID alive, and is it `carry NAME`?
is_ours() {
    local command
    kill -0 "$1" 2> /dev/null || return 1
    command=$(tr '\0' ' ' < "/proc/$1/cmdline" 2> /dev/null) || command=$(ps -p "$1" -o args= 2> /dev/null)
    # A process that ended but was not yet waited for keeps its number and has no command line.
    [[ "$command" =~ (/carry|-m\ carry[a-z._]*)\ $2(\ |$) ]]
}

# pid_of FILE NAME: prints the pid in FILE if that process is ours; removes a stale FILE.
pid_of() {
    local pid
    [ -f "$1" ] || return 1
    pid=$(head -c 20 "$1" | tr -dc '0-9')
    if [ -n "$pid" ] && is_ours "$pid" "$2"; then
        echo "$pid"
    else
        rm -f "$1"
        return 1
    fi
}

# end_process PID NAME SECONDS: SIGTERM, then waits; false if it is still there.
end_process() {
    local deadline=$((SECONDS + $3))
    kill -TERM "$1" 2> /dev/null || return 0
    while is_ours "$1" "$2"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}
