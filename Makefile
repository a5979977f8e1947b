# CI calls these targets and nothing else.
BIN := $(CURDIR)/.bin
# The caller's PATH: what run prints is pasted into a shell that has it.
CALLER := $(PATH)
export PATH := $(BIN):$(PATH)
TOOLS := $(BIN)/.stamp
# What npm has: the generator for TypeScript, and buf, which would take minutes to build,
# and half a container engine.
NODE_TOOLS := $(BIN)/node/.stamp
LINT := $(BIN)/golangci-lint
GOTESTSUM := $(BIN)/gotestsum
AUDIT := $(BIN)/govulncheck
# One set of build flags for everything, so that each package is compiled once.
export GOFLAGS := $(GOFLAGS) -trimpath
export CGO_ENABLED := $(if $(RACE),1,0)
# RACE=1 runs the tests under the race detector, which needs a C compiler. SQLite, which
# is C translated to Go and does most of what tests wait for, is not watched itself: its
# mutexes and database/sql's are, which order what our code does around it.
UNWATCHED := modernc.org/sqlite/... modernc.org/libc/... modernc.org/memory/... golang.org/x/crypto/argon2/... golang.org/x/crypto/blake2b/...
TESTFLAGS := $(if $(RACE),-race $(foreach pkg,$(UNWATCHED),-gcflags=$(pkg)=-race=false)) -timeout 20m
# $(call gotest,ARGUMENTS) is go test with a summary. With NOSKIP=1, as in CI, a
# test that is skipped is a failure.
define gotest
$(GOTESTSUM) --format pkgname --jsonfile $(BIN)/test.json -- $(1)
$(if $(NOSKIP),@./.ci/skips $(BIN)/test.json)
endef

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build every binary into .bin/
	go build -o $(BIN)/ ./services/standalone/cmd/tidegate ./services/catalog/cmd/catalog \
	  ./services/subscription/cmd/subscription ./services/gateway/cmd/gateway ./services/portal/cmd/portal

.PHONY: run
run: export PATH := $(CALLER)
run: ## Build and start everything on embedded SQLite
	@go build -o $(BIN)/tidegate ./services/standalone/cmd/tidegate
	@exec $(BIN)/tidegate serve $(ARGS)

.PHONY: test
test: $(GOTESTSUM) ## Run all tests; skipped ones are listed at the end
	$(call gotest,$(TESTFLAGS) work)

.PHONY: gen
gen: $(TOOLS) $(NODE_TOOLS) ## Generate code from proto/
	buf generate
	buf generate --template buf.gen.ts.yaml
	go run ./services/portal/internal/openapi/gen

.PHONY: fmt
fmt: $(NODE_TOOLS) ## Format Go code and protos
	buf format -w --path proto/tidegate
	gofmt -w services

.PHONY: lint
lint: $(NODE_TOOLS) $(LINT) ## Lint protos and Go code
	buf lint
	buf format -d --exit-code --path proto/tidegate
	./.ci/breaking
	go vet work
	cd services && $(LINT) run ./...

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (default 30s)
	./.ci/fuzz $(or $(FUZZTIME),30s)

.PHONY: bench
bench: ## Measure the gateway against other proxies, or with ARGS="-against DIR" another commit
	@go build -o $(BIN)/bench ./services/bench/cmd/bench
	@$(BIN)/bench $(ARGS)

.PHONY: pictures
pictures: ## Take the pictures of docs/pictures anew, with Chromium
	UPDATE_PICTURES=1 TIDEGATE_REQUIRE_BROWSER=1 go test -count=1 ./services/e2e/pictures

.PHONY: check
check: gen-check lint ## All that CI checks
	RACE=1 $(MAKE) test
	@# What the race detector would falsify.
	$(call gotest,-run 'Allocates|Stacks' ./services/gateway/internal/relay)
	@# The relay as it is on other systems than Linux.
	$(call gotest,-tags portable ./services/gateway/internal/netpoll ./services/gateway/internal/relay)
	cd gen && GOWORK=off go build ./...
	cd services && GOWORK=off go build ./...
	$(MAKE) cross

.PHONY: audit
audit: $(AUDIT) ## Look up known vulnerabilities, where their database can be reached
	@./.ci/audit $(AUDIT)

.PHONY: cross
cross: ## Check that macOS has everything, and Windows the command line
	GOOS=darwin go vet ./services/...
	GOOS=darwin go build -o /dev/null ./services/standalone/cmd/tidegate
	GOOS=windows go vet ./services/cli/... ./services/standalone/cmd/tidegate
	GOOS=windows go build -o /dev/null ./services/standalone/cmd/tidegate

.PHONY: gen-check
gen-check: gen
	@git diff --exit-code --stat -- gen && test -z "$$(git status --porcelain -- gen)" || \
	  { echo "gen/ is stale: run make gen and commit the result" >&2; exit 1; }

.PHONY: images
images: ## Build the container image, where docker or podman runs
	./deploy/image

.PHONY: release
release: ## Tag a release, as VERSION=v0.1.0, and say what to push
	@./.ci/release "$(VERSION)"

$(TOOLS): tools/go.mod tools/go.sum $(wildcard tools/protoc-gen-package/*.go)
	@mkdir -p $(BIN)
	GOWORK=off go -C tools build -o $(BIN)/ tool
	@touch $@

$(NODE_TOOLS): tools/node/package.json tools/node/package-lock.json
	@command -v npm >/dev/null && node --version >/dev/null || \
	  { echo "make gen, fmt and lint need Node 18 or later, with npm, for buf: install nodejs and npm" >&2; exit 1; }
	@mkdir -p $(BIN)/node
	cp tools/node/package.json tools/node/package-lock.json $(BIN)/node/
	cd $(BIN)/node && npm ci --ignore-scripts --no-audit --no-fund
	ln -sf node/node_modules/.bin/buf node/node_modules/.bin/protoc-gen-es $(BIN)/
	@touch $@

$(GOTESTSUM): tools/test/go.mod tools/test/go.sum
	@mkdir -p $(BIN)
	GOWORK=off go -C tools/test build -o $(BIN)/ tool
	@touch $@

$(LINT): tools/lint/go.mod tools/lint/go.sum
	@mkdir -p $(BIN)
	GOWORK=off go -C tools/lint build -o $(BIN)/ tool
	@touch $@

$(AUDIT): tools/audit/go.mod tools/audit/go.sum
	@mkdir -p $(BIN)
	GOWORK=off go -C tools/audit build -o $(BIN)/ tool
	@touch $@
