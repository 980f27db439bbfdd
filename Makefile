# Cairn's developer commands. `make help` lists them; `.ci/run` is what a change
# must pass.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The go command of this machine, never one it would download.
export GOTOOLCHAIN := local
# Nothing here links C; with it off, builds do not depend on a C compiler. The
# race detector needs it: CGO_ENABLED=1 make test TESTFLAGS=-race.
export CGO_ENABLED ?= 0
# Without version control stamps a build is a function of the sources alone, and
# root can build a clone that belongs to somebody else.
export GOFLAGS := $(strip $(shell go env GOFLAGS) -buildvcs=false)

# Absolute, so that generate-check can use this clone's tools for its copy.
TOOLS ?= $(CURDIR)/.tools
BUF := $(TOOLS)/bin/buf
GOTOOL := go tool -modfile=proto/tools.mod

# The pattern ./... leaves out directories that begin with a dot.
PKGS := ./... ./.ci/testcount
# The engine that is a module of its own, and the tags that its libraries need.
BUILDAH := builder/buildah
BUILDAHTAGS := -tags exclude_graphdriver_btrfs,containers_image_openpgp

# What `make test` tests, and further flags for it.
PKG ?= $(PKGS)
TESTFLAGS ?=
BENCHTIME ?= 500ms
# What has Go benchmarks: the hot paths of a submission, of a proof, of a verdict, of
# an import and of a build.
BENCHPKGS := $(addprefix ./ledger/,leaf attest policy checkpoint store store/bucket engine intake server survey verify web) ./cmd/cairn \
	$(addprefix ./builder/,tree source image compare queue engine)
FUZZTIME ?= 60s
SOAKTIME ?= 10m
# Further arguments of the load generator, and of the measurements of audits and of
# builds.
LOADFLAGS ?=
AUDITFLAGS ?=
BUILDFLAGS ?=
# What `make tree` does beyond building once: all.
TREE ?=
# Set to end `make run` once the demonstration has passed.
ONCE ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'variables: PKG TESTFLAGS (test), BENCHTIME LOADFLAGS (bench), FUZZTIME (fuzz), SOAKTIME (soak), ONCE=1 (run)'

.PHONY: deps
deps: ## install what is missing: Debian packages, buf, Go modules
	@.ci/deps

.PHONY: build
build: ## build every command into bin/
	go build -trimpath -o bin/ ./cmd/...

.PHONY: generate
generate: ## regenerate Go, OpenAPI and docs/api.md from the protos, and what go:generate names
	$(BUF) generate --template proto/buf.gen.yaml
	go generate $(PKGS)

.PHONY: generate-check
generate-check: ## check that generated files are current
	@.ci/generate-check

LINTS := lint-gofmt lint-vet lint-staticcheck lint-proto lint-breaking generate-check lint-tidy

.PHONY: lint $(filter lint-%,$(LINTS))
lint: ## gofmt, vet, staticcheck, buf, generated files, go.mod; all of them, even after a failure
	@$(MAKE) -k $(LINTS)

lint-gofmt:
	@files=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l); [ -z "$$files" ] || { printf 'not gofmt-ed:\n%s\n' "$$files" >&2; exit 1; }

lint-vet:
	go vet $(PKGS)
	go vet -C $(BUILDAH) $(BUILDAHTAGS) .

lint-staticcheck:
	$(GOTOOL) staticcheck $(PKGS)
	modfile=$(CURDIR)/proto/tools.mod; cd $(BUILDAH) && $$(go tool -C $(CURDIR) -modfile=$$modfile -n staticcheck) $(BUILDAHTAGS) .

lint-proto:
	$(BUF) lint

lint-breaking:
	@.ci/breaking

lint-tidy:
	go mod tidy -diff

.PHONY: test
test: ## run all tests; ends with a count of passes, failures and skips
	@mkdir -p bin && go build -o bin/.testcount ./.ci/testcount
	@( status=0; \
	  go test -json -count=1 -timeout 20m $(TESTFLAGS) $(PKG) || status=1; \
	  [ '$(PKG)' != '$(PKGS)' ] || go test -C $(BUILDAH) $(BUILDAHTAGS) -json -count=1 $(TESTFLAGS) . || status=1; \
	  exit $$status ) | bin/.testcount

.PHONY: bench
bench: ## run the Go benchmarks, load the real ledger on loopback, audit a log, time builds, and load front ends on Trillian (see .ci/deps interop); about 16 minutes
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(BENCHPKGS)
	go run ./cmd/e2e/loadgen $(LOADFLAGS)
	go run ./cmd/e2e/auditbench $(AUDITFLAGS)
	go run ./cmd/e2e/buildbench $(BUILDFLAGS)
	CAIRN_INTEROP=1 go test -run '^$$' -bench '^BenchmarkDistributed$$' -benchtime 1x -timeout 20m ./cmd/e2e/loadgen

.PHONY: tree
tree: build ## build our own package tree and check its digests; TREE=all builds it twice and with both engines
	@TREE=$(TREE) .ci/tree

.PHONY: screenshots
screenshots: ## show the dashboard to a browser, and keep pictures of its pages in .run/screenshots
	mkdir -p .run/screenshots
	CAIRN_SCREENSHOTS=$(CURDIR)/.run/screenshots go test -count=1 -run '^TestDashboard$$' ./cmd/e2e/dashboard
	@echo "the pages are in $(CURDIR)/.run/screenshots"

.PHONY: images
images: build ## build the container images twice and compare them; LEDGER, KEY, OPERATOR log them; needs root
	@.ci/images

.PHONY: interop
interop: ## import from, and anchor in, a real Rekor v1 with Trillian and MariaDB; installs them
	@.ci/interop

.PHONY: run
run: build ## start a ledger, witnesses and a builder on loopback and show what they do
	@ONCE=$(ONCE) bash deployments/run.sh

.PHONY: soak
soak: ## run every TestSoak… for SOAKTIME (they read CAIRN_SOAK)
	@SOAKTIME=$(SOAKTIME) .ci/soak

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) .ci/fuzz

.PHONY: clean
clean: ## remove what these targets made, except tools and modules
	rm -rf bin .run .images
	rm -f coverage.out
