# Credence. `make help` lists what there is; `make quickstart` shows the product, `make test` tests it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/credence-mesh/credence/internal/cli.version=$(VERSION)
LINT := go tool -modfile=tools/go.mod golangci-lint

.PHONY: help doctor doctor-run build envoy check unit test e2e fuzz bench golden generate check-generate quickstart browser

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

doctor: ## says everything that this machine lacks, with one line to install it
	@scripts/doctor.sh

doctor-run:
	@scripts/doctor.sh run

build: ## bin/credence
	@echo "building credence"
	@mkdir -p bin
	@go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

envoy: ## installs the pinned Envoy into .envoy
	@tools/envoy/install.sh .envoy

check: doctor ## formatting, vet, linter, import rules
	@echo "check: gofmt"; test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these files"; exit 1; }
	@echo "check: go vet"; go vet ./... && go vet -tags e2e ./...
	@echo "check: import rules"; go test ./internal/archtest
	@echo "check: golangci-lint (its first build takes minutes)"; $(LINT) run --build-tags e2e

unit: ## unit tests with the race detector; needs no Envoy
	@echo "unit: go test -race"
	@go test -race ./...
	@cd test/wycheproof && go test ./...
	@[ "$$(id -u)" = 0 ] || echo "unit: not run without root: what needs processes and files of several users, in identity/attest, internal/admin, internal/app and internal/envoy"

test/grpcweb/node_modules: test/grpcweb/package-lock.json
	@echo "fetching the official gRPC-Web client"
	@ca=/etc/ssl/certs/ca-certificates.crt; [ ! -f $$ca ] || export NODE_EXTRA_CA_CERTS=$${NODE_EXTRA_CA_CERTS:-$$ca}; \
	npm ci --prefix test/grpcweb --no-audit --no-fund --loglevel=error
	@touch $@

e2e: doctor envoy build test/grpcweb/node_modules ## tests on real Envoy
	@echo "e2e: real Envoy"
	@go test -tags e2e -count=1 -timeout 20m $$(scripts/e2e-packages.sh)
	@[ "$$(id -u)" = 0 ] || echo "e2e: not run without root: TestBoundaryUser* (a uid per workload needs root)"

test: doctor unit e2e ## unit + e2e

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	@scripts/fuzz.sh $${FUZZTIME:-30s}

bench: envoy ## benchmarks, each beside its limit
	@{ go test -p 1 -run '^$$' -bench . -benchtime 0.3s -count 5 ./extauthz/... ./policy/... ./controlplane/... ./identity/...; \
	   go test -tags e2e -run '^$$' -bench GRPC -benchtime 2s -count 3 ./test/e2e; } | tee /dev/stderr | awk -f scripts/benchtable.awk

golden: ## rewrites the golden files; read the diff
	@go test ./policy/... ./manifests/... -update
	@go test -tags e2e ./controlplane/xds -update

generate: ## Go code of the protocol buffers (python3 -m pip install grpcio-tools==1.85.1)
	@scripts/generate.sh

check-generate: generate ## fails where the committed code is not what generate makes
	@git diff --exit-code -- examples/quickstart/shoppb

quickstart: doctor-run envoy build ## the mesh of examples/quickstart on real Envoy, request by request (KEEP=1 stays up)
	@examples/quickstart/run.sh

browser: doctor-run envoy build ## the page of examples/browser and the gateway that it calls; open it by hand
	@go build -o bin/browser ./examples/browser && exec bin/browser
