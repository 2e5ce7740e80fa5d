#!/usr/bin/env bash
# Makes DIR the virtual environment of LOCK: `bash .ci/venv.sh DIR LOCK`. Says nothing if it already is.
#
# The one place that installs: start.sh (.venv), the Makefile (.venv-test) and .ci/run use it. Every package
# is checked against its hash in LOCK; then the project itself is installed from this folder, editable, so
# that a `git pull` needs a new install only if the lock or setup.cfg changed. A stamp, written last,
# tells that; after an interrupted install it is missing and the next call goes on where this one broke off.
set -euo pipefail
umask 022   # a checkout shared with a service user must be readable to it
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
dir=$(realpath -m "$1")
lock=$(realpath "$2")

fail() { echo "$*" >&2; exit 1; }

# PYTHON names an interpreter to use; without it, the first that fits.
find_python() {
    local candidate why='' candidates=(python3 python3.13 python3.12 python3.11 python3.10)
    if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        command -v "$candidate" > /dev/null || continue
        if ! "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2> /dev/null; then
            why="$candidate is $("$candidate" --version 2>&1)"
        elif ! "$candidate" -c 'import venv, ensurepip' 2> /dev/null; then
            why="$candidate cannot make virtual environments (on Debian: apt install python3-venv)"
        else
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail "No Python 3.10 to 3.13 with venv was found${why:+: $why}. Install one, or name it: PYTHON=/path/to/python3"
}

# An environment that works is kept with its Python, whatever `python3` means today.
if [ -x "$dir/bin/python" ] && [ -z "${PYTHON:-}" ] && "$dir/bin/python" -c 'import pip' 2> /dev/null; then
    python="$dir/bin/python"
else
    python=$(find_python)
fi
version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')

# The folder is part of the stamp because scripts in an environment name it: a moved checkout needs new ones.
stamp=$( { echo "$dir $version"; cat "$lock" "$root/setup.cfg" "$root/pyproject.toml"; } | sha256sum | cut -d' ' -f1)
[ "$(cat "$dir/.stamp" 2> /dev/null)" = "$stamp" ] && exit 0

mkdir -p "$dir"
exec 9> "$dir.lock"
flock 9   # two starts at once must not install into each other
[ "$(cat "$dir/.stamp" 2> /dev/null)" = "$stamp" ] && exit 0

echo "Installing $(basename "$lock") into $(basename "$dir") (Python $version): one to two minutes the first time."
if [ "$(cat "$dir/.home" 2> /dev/null)" != "$dir $version" ]; then
    if [ "$python" = "$dir/bin/python" ]; then
        python=$(readlink -f "$python")   # clearing the folder would remove the link that is running
    fi
    "$python" -m venv --clear "$dir" || fail "Could not make the virtual environment $dir."
    echo "$dir $version" > "$dir/.home"
fi
rm -f "$dir/.stamp"
pip() { "$dir/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install -qq --no-input --require-hashes --requirement "$lock" ||
    fail "Could not install $(basename "$lock"). The network is needed for this step; run it again when it is back."
pip install -qq --no-input --no-deps --no-build-isolation --editable "$root" \
    --config-settings editable_mode=compat ||
    fail "Could not install carry itself into $dir."
echo "$stamp" > "$dir/.stamp"
