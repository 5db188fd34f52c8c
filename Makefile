# The one list of what can be done here; .ci/run uses the same targets.
.DEFAULT_GOAL := help
SHELL := bash
BIN := bin
GO ?= go
# go-sqlite3 is C: a compiler is needed, extension loading is not.
TAGS := sqlite_omit_load_extension
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD := $(GO) build -trimpath -tags $(TAGS) -ldflags "-X main.version=$(VERSION)"
# Debian packages that tests use as real peers: "program:package".
PEERS := sshd:openssh-server ssh:openssh-client busybox:busybox dash:dash aws:awscli nc:netcat-openbsd tmux:tmux chromium:chromium shellcheck:shellcheck
LINT := $(BIN)/golangci-lint
PLUGIN := $(BIN)/session-manager-plugin
TOFU := $(BIN)/tofu
SCHEMA := $(BIN)/schema/terraform-provider-aws

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

build: ## build bin/migrate
	$(BUILD) -o $(BIN)/migrate ./cmd/migrate

demo: build ## the wizard on the built-in simulated fleet; docs/guide.md leads through it
	$(BIN)/migrate demo

man: build ## write the man page to bin/migrate.1
	$(BIN)/migrate man > $(BIN)/migrate.1

setup: ## install what the tests need (Debian packages, pinned tools)
	@.ci/setup $(PEERS)
	@$(MAKE) --no-print-directory $(LINT) $(PLUGIN)

$(LINT): tools/go.mod
	cd tools && $(GO) build -o ../$(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# AWS's own client of Session Manager, which the simulated AWS has to serve.
$(PLUGIN): tools/plugin/go.mod
	cd tools/plugin && $(GO) build -o ../../$(PLUGIN) github.com/aws/session-manager-plugin/src/sessionmanagerplugin-main

$(TOFU): tools/tofu/go.mod
	cd tools/tofu && $(GO) build -trimpath -ldflags "-X github.com/opentofu/opentofu/version.dev=no" -o ../../$(TOFU) github.com/opentofu/opentofu/cmd/tofu

# The AWS provider's arguments for tofu validate, and nothing else of it.
$(SCHEMA): tools/tofu/go.mod tools/tofu/schema/main.go
	cd tools/tofu && $(GO) build -trimpath -o ../../$(SCHEMA) ./schema

# Tests wait more than they compute, unless the race detector looks on: several
# packages and tests at a time. Their memory is small: less work for the garbage
# collector. A package that hangs is ended, and tells what its goroutines do.
test race: export GOGC := 400

test: setup ## run all tests
	$(GO) test -tags $(TAGS) -p 4 -parallel 6 -timeout 14m ./...

long: setup ## run the tests that take minutes: the wizard from end to end, a hand-over of the demo fleet by the AWS CLI and ssh, copies of 200 MB
	$(GO) test -tags $(TAGS) -count 1 -timeout 30m -run '^(TestTheWholeWayInATerminal|TestHandOverEndsInTheSameState|TestCopyGoesOnAfterAKill)$$' ./cmd/migrate -args -long

hcl: $(TOFU) $(SCHEMA) ## run OpenTofu's fmt and validate over what is exported for Terraform (its first run builds OpenTofu: minutes)
	$(GO) test -tags $(TAGS) -count 1 -run '^TestTofu' ./internal/export ./cmd/migrate -args -tofu $(CURDIR)/$(BIN)

# These start no goroutines, so that there is nothing for the detector to see; nor
# do the tests of the tree itself.
ALONE := access export filter fleet plan readiness recovery report seal

race: ## run the tests under the race detector, but for those that only run other programs
	$(GO) test -tags $(TAGS) -race -short -p 3 -parallel 6 -timeout 10m $$($(GO) list -tags $(TAGS) ./... | grep -E '/(cmd|internal)/' | grep -vE '/internal/($(subst $() ,|,$(ALONE)))$$')

check: $(LINT) ## vet, lint, format, tidy, shell scripts
	$(GO) vet -tags $(TAGS) ./...
	$(LINT) run ./...
	$(GO) mod tidy -diff
	shellcheck -s sh internal/inventory/probe.sh
	shellcheck -s sh -e SC1003,SC2015,SC2094,SC2153,SC2295 internal/cutover/scripts/*.sh
	shellcheck .ci/run .ci/setup docs/images/make docs/images/scenes

golden: ## rewrite golden files and generated documents (look at the diff)
	$(GO) test -tags $(TAGS) ./internal/readiness ./internal/report ./internal/sqlite ./internal/tui -update

pictures: build ## take the pictures of README and docs from the real program
	@.ci/setup $(PEERS) aha:aha
	docs/images/make $(BIN)/migrate

matrix: ## inject all known causes of failure, alone and in pairs, and write docs/detection.md (long)
	@$(GO) test -tags $(TAGS) -run '^TestDetectionMatrix$$' -count 1 -timeout 3h ./cmd/migrate -args -matrix $(CURDIR)/docs/detection.md; \
	  status=$$?; tail -n 1 docs/detection.md; exit $$status

SEEDS ?= 2000
FIRST ?= 1
simulate: ## run SEEDS simulated migrations from seed FIRST on, with faults and kills, then with deliberate defects (long)
	@tell=$$(mktemp); $(GO) test -tags $(TAGS) -run '^(TestSimulate|TestMutationsAreCaught)$$' -count 1 -timeout 12h ./internal/cutover/simulation -args -seeds $(SEEDS) -first $(FIRST) -tell $$tell; \
	  status=$$?; sort -r $$tell | paste -sd, | sed 's/,/, /g; s/,  /, /g'; rm -f $$tell; exit $$status

FUZZTIME ?= 20s
fuzz: ## run every fuzz target for FUZZTIME each
	@set -e; for pkg in $$($(GO) list -tags $(TAGS) ./...); do \
	  for f in $$($(GO) test -tags $(TAGS) -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$f"; $(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

bench: ## measure; figures go to docs/benchmarks.md by hand
	$(GO) test -tags $(TAGS) -run '^$$' -bench . -benchtime 1x -timeout 30m ./...

.PHONY: help build demo man setup test long hcl race check golden pictures matrix simulate fuzz bench
