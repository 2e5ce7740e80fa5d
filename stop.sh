#!/usr/bin/env bash
# Ends what start.sh started: the bot with its grace (no new lead order, the hedge of what filled is
# completed), then ops, then the embedded exchange. Exit codes: 0 ended or nothing ran, 1 a leg is left
# naked, or a process had to be killed, or what is open could not be read.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
. .ci/processes.sh
STOP_WAIT_S=${CARRY_STOP_WAIT:-60}   # keep it above execution.shutdown_grace_ms
carry=.venv/bin/carry
[ -d data/run ] || { echo 'Nothing runs.'; exit 0; }
exec 8> data/run/start.lock
flock -n 8 || { echo 'Another start.sh or stop.sh is at work here; wait for it.' >&2; exit 3; }

# What start.sh noted: the folder of the exchange's pid, then its --config and --state-db, a word a line.
where=() run_folder=data/run
if [ -f data/run/where ]; then
    mapfile -t where < data/run/where
    run_folder=${where[0]:-data/run}
    where=("${where[@]:1}")
fi
with=''
[ ${#where[@]} -eq 0 ] || with=$(printf ' %q' "${where[@]}")

code=0
bot=$(pid_of data/run/bot.pid run) || bot=''
ops=$(pid_of data/run/ops.pid ops) || ops=''
exchange=$(pid_of "$run_folder/exchange.pid" exchange) || exchange=''
if [ -z "$bot$ops$exchange" ]; then
    echo 'Nothing runs.'
    exit 0
fi

# finish NAME PID SECONDS: ends it, by force if it must be.
finish() {
    end_process "$2" "$1" "$3" && return
    kill -KILL "$2" 2> /dev/null || true
    echo "carry $1 (pid $2) did not end within $3 s and was killed." >&2
    code=1
}

if [ -n "$bot" ]; then
    echo "Stopping the bot (pid $bot): it finishes the hedge of what filled, at most $STOP_WAIT_S s."
    finish run "$bot" "$STOP_WAIT_S"
    rm -f data/run/bot.pid
else
    echo 'The bot had ended by itself: logs/service.out may say why.'
fi

# Asked while the exchange still runs and ops can still send an alert.
"$carry" positions ${where[@]+"${where[@]}"} 2>&1 8>&- || true
naked=$("$carry" status --json ${where[@]+"${where[@]}"} 2> /dev/null 8>&- | .venv/bin/python -c '
import json, sys
for market in json.load(sys.stdin)["markets"]:
    if market["naked"]:
        print(market["coin"], "by", market["delta_usd"], "USD")' 2> /dev/null) || {
    echo 'What is left open could not be read: look at the venue, and at logs/service.out.' >&2
    code=1
}
if [ -n "$naked" ]; then
    printf 'NAKED, not hedged: %s\n' "$naked" >&2
    echo 'Start again to let the bot repair it, or close it: .venv/bin/carry flatten --now'"$with" >&2
    code=1
fi

if [ -n "$ops" ]; then finish ops "$ops" 15; fi
if [ -n "$exchange" ]; then finish exchange "$exchange" 15; fi
rm -f data/run/ops.pid "$run_folder/exchange.pid" data/run/where
echo "Stopped:${bot:+ bot}${ops:+ ops}${exchange:+ exchange}."
exit "$code"
