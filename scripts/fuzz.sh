#!/usr/bin/env bash
# Runs every fuzz target for the time $1.
set -eu
git ls-files '*_test.go' | xargs grep -lE '^func Fuzz' | while read -r file; do
    grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/func //' | while read -r target; do
        echo "fuzz: $target in $(dirname "$file")"
        go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$1"
    done
done
