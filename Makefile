# What a developer of serai does, by name. `make help` lists it.
export GOTOOLCHAIN ?= auto
export CGO_ENABLED ?= 0

GO      ?= go
IMAGE   ?= serai:dev
FUZZ    ?= 10s
CHAOS   ?= 1m
ARCH    ?= amd64
PACKAGES = ./...

.PHONY: help dev test race check fmt vet lint fuzz allocs bench chaos dist release image jobs clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

dev: ## run the main job on this machine
	$(GO) run ./cmd/serai dev

test: ## the tests, as the README has them
	$(GO) test $(PACKAGES)

race: ## the tests with the race detector
	CGO_ENABLED=1 $(GO) test -race $(PACKAGES)

check: fmt vet lint test allocs ## what must pass before a commit

fmt: ## files that gofmt would change
	@test -z "$$(gofmt -l . | tee /dev/stderr)"

vet: ## go vet, also for the systems that are not Linux
	$(GO) vet $(PACKAGES)
	GOOS=darwin $(GO) vet $(PACKAGES)

lint: ## staticcheck, at the version that go.mod has
	$(GO) tool staticcheck $(PACKAGES)

fuzz: ## every fuzz test for FUZZ (10s)
	@./.ci/fuzz $(FUZZ)

allocs: ## the tests that count allocations, alone and without the race detector
	$(GO) test -count=1 -run 'Alloc' $(PACKAGES) | grep -v 'no test files'

bench: ## all benchmarks once
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

chaos: ## random programs of requests and faults from a fresh seed, for CHAOS (1m)
	$(GO) run ./loadtest chaos --time=$(CHAOS)

dist: ## the static binary dist/serai, for Linux; ARCH=arm64 for other nodes
	GOOS=linux GOARCH=$(ARCH) $(GO) build -trimpath -ldflags '-s -w' -o dist/serai ./cmd/serai

release: ## binaries, .deb, .rpm, images, lists of modules and checksums of the last commit, in dist/release
	packaging/release dist/release

image: dist ## the image serai:dev, from nothing but dist/serai
	docker build -t $(IMAGE) .

jobs: ## check the job files; with NOMAD_BIN also run them
	$(GO) test -count=1 -v ./jobs

clean: ## what was built
	rm -rf dist
