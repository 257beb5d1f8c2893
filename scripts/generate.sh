#!/bin/sh
# Makes the Go code of the protocol buffers: protoc of pip's grpcio-tools, plugins as pinned in tools/go.mod.
set -eu
cd "$(dirname "$0")/.."
python3 -c 'import grpc_tools.protoc' 2>/dev/null || {
	echo "generate: no protoc: python3 -m pip install grpcio-tools==1.85.1" >&2
	exit 1
}
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT
GOBIN="$plugins" go install -modfile=tools/go.mod google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
PATH="$plugins:$PATH" python3 -m grpc_tools.protoc -I examples/quickstart/shoppb \
	--go_out=examples/quickstart/shoppb --go_opt=paths=source_relative \
	--go-grpc_out=examples/quickstart/shoppb --go-grpc_opt=paths=source_relative \
	examples/quickstart/shoppb/shop.proto
