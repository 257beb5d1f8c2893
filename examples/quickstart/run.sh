#!/usr/bin/env bash
# Builds and runs the quickstart; KEEP=1 stays up afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "quickstart: building the services"
go build -o bin/ ./examples/quickstart/web ./examples/quickstart/orders ./examples/quickstart/payments ./examples/quickstart/ledger ./examples/quickstart/batch
go build -o bin/quickstart ./examples/quickstart/cmd
exec bin/quickstart ${KEEP:+-keep}
