#!/usr/bin/env bash
# Installs this checkout as a service, or upgrades the one that is installed: `sudo systemd/install.sh`.
# Shows what it will do and asks; run again, it changes nothing. `--dry-run` only shows, `--yes` does not ask.
#
# An upgrade is checked by the new program's ticks; when none comes, the old program is put back, with the
# journal as it was if the old one cannot read the new. Exit codes: 0 done or nothing to do, 1 failed (and
# rolled back), 2 bad usage, 3 refused.
set -euo pipefail
umask 022
source_folder=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

# For a test: everything below another root, and stand-ins for what needs a machine.
root=${CARRY_INSTALL_ROOT:-}
systemctl=${CARRY_SYSTEMCTL:-systemctl}
make_venv=${CARRY_MAKE_VENV:-}
health_s=${CARRY_HEALTH_S:-180}

opt=$root/opt/carry etc=$root/etc/carry units=$root/etc/systemd/system
state=$root/var/lib/carry journal=$root/var/lib/carry/carry.db
command_file=$root/usr/local/bin/carry
names=(carry.service carry-ops.service carry-note.service carry-note.timer)
files=(carry setup.cfg pyproject.toml requirements.lock .ci/venv.sh docs README.md CHANGELOG.md
    config.yaml.example examples systemd)

dry=no ask=yes
for word in "$@"; do
    case $word in
        --dry-run) dry=yes ;;
        --yes) ask=no ;;
        *)
            echo "$word: usage: sudo systemd/install.sh [--dry-run] [--yes]" >&2
            exit 2
            ;;
    esac
done
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ] && [ "$dry" = no ]; then
    echo 'This writes /opt, /etc and units: run it with sudo, or look first with --dry-run.' >&2
    exit 3
fi

# What is released, by its content: the same files are the same release, whatever folder they come from.
tracked() {
    cd "$source_folder"
    find "${files[@]}" -type f ! -name '*.pyc' ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z
}
release=$(cd "$source_folder" && tracked | xargs -0 sha256sum | sha256sum | cut -c1-12)
target=$opt/releases/$release
old=$(readlink "$opt/current" 2> /dev/null || true)
old=${old##*/}

wrapper() {
    cat << END
#!/bin/sh
# \`carry\` for operators of the service: the same config, journal and lock as the units.
# Made by systemd/install.sh.
umask 077
export STATE_DIRECTORY=/var/lib/carry LOGS_DIRECTORY=/var/log/carry CARRY_LOCK_DIR=/run/carry
cd /etc/carry || exit 1
exec /opt/carry/current/.venv/bin/carry "\$@"
END
}

same() { [ -f "$2" ] && cmp -s "$1" "$2"; }

# --- the plan -------------------------------------------------------------------------------------

plan=()
[ -d "$target" ] && [ -e "$target/.complete" ] || plan+=("put this checkout into $target, with an environment from requirements.lock")
[ -e "$etc/config.yaml" ] || plan+=("make $etc/config.yaml from config.yaml.example: play money, until you change it")
new_units=()
for name in "${names[@]}"; do
    same "$source_folder/systemd/$name" "$units/$name" || new_units+=("$name")
done
[ ${#new_units[@]} -eq 0 ] || plan+=("write ${new_units[*]} to $units")
wrapper | cmp -s - "$command_file" 2> /dev/null || plan+=("write $command_file, for carry status and the like")
switch=no
if [ "$old" != "$release" ]; then
    switch=yes
    if [ -n "$old" ]; then
        plan+=("copy the journal, switch from release $old to $release, start again, and go back if no tick comes within $health_s s")
    else
        plan+=("switch to release $release")
    fi
fi
off=()
for name in carry.service carry-ops.service carry-note.timer; do
    "$systemctl" is-enabled --quiet "$name" 2> /dev/null || off+=("$name")
done
[ ${#off[@]} -eq 0 ] || plan+=("enable ${off[*]}, now and at each boot")

if [ ${#plan[@]} -eq 0 ]; then
    echo "Release $release is installed and enabled: nothing to do."
    exit 0
fi
echo 'This will:'
printf '  - %s\n' "${plan[@]}"
[ "$dry" = no ] || exit 0
if [ "$ask" = yes ]; then
    read -r -p 'Go on? [y/N] ' answer
    [[ "$answer" =~ ^[yY] ]] || { echo 'Nothing was changed.'; exit 1; }
fi

# --- done in this order, each step as if the one before had never been interrupted ----------------

if [ ! -e "$target/.complete" ]; then
    rm -rf "$target"
    mkdir -p "$target"
    (tracked | tar -C "$source_folder" --null -T - -cf -) | tar -C "$target" -xf -
    if [ -n "$make_venv" ]; then
        "$make_venv" "$target"
    else
        bash "$target/.ci/venv.sh" "$target/.venv" "$target/requirements.lock"
        python=$(readlink -f "$target/.venv/bin/python")
        if [[ "$python" =~ ^/(home|root)/ ]]; then
            rm -rf "$target"
            echo "$python is in a home folder, which the units cannot see: install python3 for all, or name one with PYTHON=" >&2
            exit 3
        fi
    fi
    touch "$target/.complete"
fi
mkdir -p "$etc" "$units" "$(dirname "$command_file")"
if [ ! -e "$etc/config.yaml" ]; then
    install -m 0644 "$target/config.yaml.example" "$etc/config.yaml"
fi
new=$target/.venv/bin/carry
if ! "$new" config check --config "$etc/config.yaml" > "$target/config-check.out" 2>&1; then
    cat "$target/config-check.out" >&2
    echo "$etc/config.yaml is refused by this release: nothing was switched. Mend it and run this again." >&2
    exit 1
fi
for name in "${new_units[@]+"${new_units[@]}"}"; do
    install -m 0644 "$source_folder/systemd/$name" "$units/$name"
done
[ ${#new_units[@]} -eq 0 ] || "$systemctl" daemon-reload
wrapper > "$target/wrapper"
same "$target/wrapper" "$command_file" || install -m 0755 "$target/wrapper" "$command_file"

point() {   # at once: whoever looks sees the old release or the new one
    ln -sfn "releases/$1" "$opt/current.new"
    mv -T "$opt/current.new" "$opt/current"
}
last_tick() {
    "$1" status --json --state-db "$journal" 2> /dev/null | sed -nE 's/.*"seq": ([0-9]+).*/\1/p' | head -n 1
}
healthy() {   # PROGRAM TICK: a later tick was committed by a bot that still runs
    local end=$((SECONDS + health_s)) seq
    while [ $SECONDS -lt $end ]; do
        seq=$(last_tick "$1" || true)
        if [ -n "$seq" ] && [ "$seq" -gt "$2" ] && "$systemctl" is-active --quiet carry.service; then return; fi
        sleep 1
    done
    return 1
}

if [ "$switch" = yes ] && [ -n "$old" ]; then
    before=$(last_tick "$opt/releases/$old/.venv/bin/carry" || true)
    "$systemctl" stop carry.service carry-ops.service || true
    copy=
    if [ -e "$journal" ]; then
        copy=$state/carry.db.before-$release
        rm -f "$copy"
        "$target/.venv/bin/python" - "$journal" "$copy" << 'END'
import os, sqlite3, sys
source, copy = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])
source.backup(copy)
copy.close()
info = os.stat(sys.argv[1])
os.chmod(sys.argv[2], 0o600)
if os.geteuid() == 0:
    os.chown(sys.argv[2], info.st_uid, info.st_gid)
END
    fi
    point "$release"
    "$systemctl" start carry.service carry-ops.service || true
    if ! healthy "$new" "${before:-0}"; then
        echo "Release $release committed no tick within $health_s s: going back to $old." >&2
        "$systemctl" stop carry.service carry-ops.service || true
        point "$old"
        was=$opt/releases/$old/.venv/bin/carry
        if [ -n "$copy" ] && ! "$was" status --json --state-db "$journal" > /dev/null 2>&1; then
            # Safe by design: if the new release traded, this journal is older than the venue's evidence,
            # and the old one halts (journal_old) instead of trading twice.
            for rest in -wal -shm; do rm -f "$journal$rest"; done
            cp -p "$copy" "$journal"
            echo "The journal is the one from before the upgrade ($copy)." >&2
        fi
        "$systemctl" start carry.service carry-ops.service || true
        echo 'Rolled back. journalctl -u carry says what was wrong.' >&2
        exit 1
    fi
    echo "Release $release commits ticks."
elif [ "$switch" = yes ]; then
    point "$release"
fi
[ ${#off[@]} -eq 0 ] || "$systemctl" enable --now "${off[@]}"
echo "Installed: release $release. Look with: carry status --watch"
echo 'Next: docs/OPERATIONS.md, "From a new account to the first live dollar".'
