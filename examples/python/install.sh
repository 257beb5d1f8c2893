#!/usr/bin/env bash
# Makes a Python of its own in the folder $1, with the SPIFFE library for Python. Its interpreter is a copy, not a link: a selector by path
# must recognise this program and not every Python of the machine. Needs Python 3.10 or newer, with pip.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dest=${1:?usage: install.sh FOLDER}
if [ -e "$dest" ]; then echo "install.sh: $dest is there already" >&2; exit 1; fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "install.sh: Python 3.10 or newer is needed, this is $(python3 --version)" >&2; exit 1; }
mkdir -p "$(dirname "$dest")"
work=$(mktemp -d "$(dirname "$dest")/python-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m venv --copies --without-pip "$work/python"
site=$("$work/python/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --no-deps --only-binary=:all: \
    --target "$site" --requirement "$here/requirements.txt"
chmod -R u=rwX,go=rX "$work/python" # other users of a mesh may run it
mv "$work/python" "$dest"
