#!/bin/bash
# Makes .venv and installs the project into it, editable, with the development tools.
set -euo pipefail
cd "$(dirname "$0")/../.."
. labs/setup/progress.sh

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: Python 3.11 or later is needed; $python is $("$python" -V 2>&1)." >&2
    echo "setup: Debian 12 and Ubuntu 24.04 have it; another one is named by PYTHON=python3.12" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
}
echo "setup: installing the project into .venv (a minute or two)" >&2
if ! fetch 'fetching and installing Python packages' "$log" install; then
    tail -n 20 "$log" >&2
    exit 1
fi
touch .venv/.installed
