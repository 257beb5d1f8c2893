#!/usr/bin/env bash
# The packages that hold tests with the build tag e2e.
set -eu
git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -lE '^//go:build e2e$' | xargs -n1 dirname | sort -u | sed 's|^|./|'
