#!/usr/bin/env bash
# What a change decides otherwise: `bash .ci/decision-diff.sh BASE [SEEDS] [TICKS]`, or `make decision-diff BASE=rev`.
# The program of BASE lives storm seeds and journals them; the one of this checkout decides every tick again.
# Exit 0: no decision changed. 3: some did. 1: a row is not what was written, or BASE cannot make journals.
set -uo pipefail
base=${1:?'name the revision to compare with, such as BASE=main'}
seeds=${2:-12} ticks=${3:-400}
here=$(pwd) python=${PYTHON:-python3}
revision=$(git rev-parse --verify --quiet "$base^{commit}") || { echo "$base: no such revision" >&2; exit 2; }
folder=$(mktemp -d)
trap 'git -C "$here" worktree remove --force "$folder/base" 2> /dev/null; rm -rf "$folder"' EXIT
git worktree add --quiet --detach "$folder/base" "$revision" || exit 1

(cd "$folder/base" && "$python" -m carry storm --seeds "0:$seeds" --ticks "$ticks" --values --jobs "${JOBS:-1}" \
    --journals "$folder/corpus" > "$folder/said" 2>&1)
# 1: a seed broke a promise there; its journal counts all the same.
if [ $? -gt 1 ] || ! ls "$folder"/corpus/*.db > /dev/null 2>&1; then
    tail -5 "$folder/said" >&2
    echo "$base made no journals: it is older than \`carry storm --journals\`" >&2
    exit 1
fi
"$python" -m carry replay --diff "$folder"/corpus/*.db
