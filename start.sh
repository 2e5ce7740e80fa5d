#!/usr/bin/env bash
# Starts the bot (and with `venue: embedded` its exchange) and the ops process in the background:
# `./start.sh [flags of carry run]`. Installs first if needed. `./stop.sh` ends them. Exit codes: 0 it runs,
# 1 it failed, 2 bad flag or config, 3 refused because it runs already or for safety.
set -euo pipefail
umask 077   # the journal, the logs and the config are nobody else's business
called_from=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
root=$PWD
. .ci/processes.sh
START_WAIT_S=${CARRY_START_WAIT:-120}   # for the first committed tick
mkdir -p data/run logs

# Flags go to `carry run`. Those that say where things are hold for the other commands too, and a relative
# path means the folder the user stands in.
flags=() where=() config_given=no
while [ $# -gt 0 ]; do
    case $1 in
        --config=* | --state-db=*) flag=${1%%=*} path=${1#*=} ;;
        --config | --state-db)
            [ $# -ge 2 ] || { echo "$1 needs a file name after it." >&2; exit 2; }
            flag=$1 path=$2
            shift
            ;;
        *) flags+=("$1") flag='' ;;
    esac
    shift
    [ -n "$flag" ] || continue
    [ "$flag" = --state-db ] || config_given=yes
    case $path in
        /*) ;;
        :memory:)
            echo 'A journal in memory cannot be looked at from outside: use carry run in the foreground.' >&2
            exit 2
            ;;
        *) path=$called_from/$path ;;
    esac
    where+=("$flag" "$path")
done

# The lock ends with this script: the processes started below do not inherit it.
exec 8> data/run/start.lock
flock -n 8 || { echo 'Another start.sh or stop.sh is at work here; wait for it.' >&2; exit 3; }
if pid=$(pid_of data/run/bot.pid run); then
    echo "The bot runs already (pid $pid). Look with .venv/bin/carry status, or end it with ./stop.sh." >&2
    exit 3
fi

bash .ci/venv.sh .venv requirements.lock 8>&-
carry=$root/.venv/bin/carry
if [ "$config_given" = no ] && [ ! -e config.yaml ]; then
    cp config.yaml.example config.yaml
    echo 'Made config.yaml from config.yaml.example: the embedded exchange, play money, sped up.'
fi
"$carry" config check ${where[@]+"${where[@]}"} > logs/config-check.out 2>&1 8>&- || {
    code=$?
    cat logs/config-check.out >&2
    exit "$code"
}
# The bot keeps its exchange's pid beside the journal, wherever flags and config put that.
journal=$(sed -n 's/^journal: //p' logs/config-check.out)
run_folder=$(dirname "${journal:-data/carry.db}")/run

# The number of the last committed tick, 0 if there is no journal yet.
last_tick() {
    "$carry" status --json ${where[@]+"${where[@]}"} 2> /dev/null 8>&- |
        .venv/bin/python -c 'import json, sys; print(int(json.load(sys.stdin)["seq"]))' 2> /dev/null || echo 0
}
before=$(last_tick)

# service.out holds start-up and crash text only; the bot's own log rotates by itself.
if [ "$(stat -c %s logs/service.out 2> /dev/null || echo 0)" -gt 1048576 ]; then
    mv -f logs/service.out logs/service.out.1
fi
echo "--- start $(date -u +%FT%TZ)" >> logs/service.out
old_lines=$(wc -l < logs/service.out)

# launch NAME ARGUMENTS...: `carry NAME` in a session of its own, so that closing the terminal leaves it alone.
launch() {
    setsid "$carry" "$@" ${where[@]+"${where[@]}"} < /dev/null >> logs/service.out 2>&1 8>&- &
    launched=$!
}
launch run ${flags[@]+"${flags[@]}"}
bot=$launched
echo "$bot" > data/run/bot.pid
printf '%s\n' "$run_folder" ${where[@]+"${where[@]}"} > data/run/where   # for stop.sh
if old=$(pid_of data/run/ops.pid ops); then
    end_process "$old" ops 10 || kill -KILL "$old"   # it may run older code
fi
launch ops
ops=$launched
echo "$ops" > data/run/ops.pid

began=$SECONDS
until [ "$(last_tick)" -gt "$before" ]; do
    if ! kill -0 "$bot" 2> /dev/null; then
        code=0
        wait "$bot" || code=$?
        rm -f data/run/bot.pid
        end_process "$ops" ops 10 || kill -KILL "$ops"
        rm -f data/run/ops.pid
        if [ "$code" -eq 0 ]; then
            echo 'The bot did what the flags ask for and ended; nothing runs now.'
        else
            echo "The bot ended with exit code $code before its first tick. logs/service.out says:" >&2
        fi
        tail -n "+$((old_lines + 1))" logs/service.out | tail -n 20 >&2
        exit "$code"
    fi
    if [ $((SECONDS - began)) -ge "$START_WAIT_S" ]; then
        echo "No tick was committed within $START_WAIT_S s. The bot (pid $bot) still runs and tries." >&2
        echo 'See logs/service.out and .venv/bin/carry why; ./stop.sh ends it.' >&2
        exit 1
    fi
    sleep 0.5
done

at=./
[ "$called_from" = "$root" ] || at=$root/
with=''
[ ${#where[@]} -eq 0 ] || with=$(printf ' %q' "${where[@]}")   # the same journal, not the default one
echo 'Running in the background:'
if exchange=$(pid_of "$run_folder/exchange.pid" exchange); then
    echo "  exchange  pid $exchange  embedded, play money"
fi
echo "  bot       pid $bot  first tick committed after $((SECONDS - began)) s"
if is_ours "$ops" ops; then
    echo "  ops       pid $ops"
else
    rm -f data/run/ops.pid
    echo '  ops       NOT RUNNING: no alerts and no heartbeat; logs/service.out says why' >&2
fi
cat <<END
It survives closing this terminal, not a reboot: for that install the units in systemd/ (docs/OPERATIONS.md).
Next:
  ${at}.venv/bin/carry status --watch$with   what it holds, earns and waits for
  ${at}.venv/bin/carry why$with              which gate blocks, and by how much
  ${at}stop.sh                          end it; a carry stays open, hedged
END
