#!/usr/bin/env bash
# Writes requirements-test.lock and requirements.lock from setup.cfg: `bash .ci/lock.sh [--upgrade]`.
#
# Both are universal (every platform, Python 3.10 and up) and carry the hash of every artifact. The test
# lock, with every extra, is resolved first and constrains the run-time one: users run what was tested.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

UV_VERSION=0.13.9   # pinned: another resolver may order or mark the same answer differently
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
python3 -m venv "$tool"
"$tool/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"

compile() {  # compile OUT ARGUMENTS...
    local out=$1
    shift
    # setuptools builds the project itself, without build isolation, so it must be hashed as well.
    echo 'setuptools >= 70.1' | "$tool/bin/uv" pip compile --quiet --no-config --universal --python-version 3.10 \
        --generate-hashes --no-header --no-annotate --output-file "$out" "$@" setup.cfg - > "$tool/out"
}

compile requirements-test.lock --extra test --extra timescale --extra report --extra research --extra cluster "$@"
compile requirements.lock --constraint requirements-test.lock
