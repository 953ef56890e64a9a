# What everyone runs. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# The Router's port in the demo.
ROUTER_PORT ?= 8080
# How long each target is fuzzed.
FUZZ_SECONDS ?= 300
# 1: the demo drives itself, prints a table of checks and ends.
DEMO_ONCE ?=

# Where the real parts are, written by scripts/setup.
PARTS := set -a; . target/real-parts.env; set +a; root=$$([ "$$(id -u)" != 0 ] || echo ,netns); export E2E_REQUIRE="$${E2E_REQUIRE-ours,$$AYATORI_PARTS$$root}"
# What the demo and the tests run.
PROGRAMS := -p api-gateway -p control-plane -p host-agent -p meshctl -p nomad-stand-in -p samples
# Skips are printed by passing tests, whose output cargo hides otherwise.
TEST_FLAGS := --no-fail-fast
SHOW := -- --show-output

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup-demo build ## Run a whole mesh here; Ctrl-C ends it. DEMO_ONCE=1: drive it, check it, end. ROUTER_PORT=N (8080)
	@$(PARTS); exec target/debug/meshctl demo --router-port $(ROUTER_PORT) $(if $(DEMO_ONCE),--once)

.PHONY: check
check: fmt lint test-unit ## Format, lint, unit tests: the inner loop

.PHONY: fmt
fmt:
	@$(CARGO) fmt --all --check
	@cd fuzz && $(CARGO) fmt --check

.PHONY: lint
lint:
	@$(CARGO) clippy --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

# What a test of everything is made of; a part that fails does not keep the others from being run.
EVERYTHING := test-crates test-mesh test-doors test-fuzz

.PHONY: test
test: setup build ## Set up what is missing and run every test once, against real parts
	@$(MAKE) --no-print-directory --keep-going $(EVERYTHING)

.PHONY: test-full
test-full: setup build ## The whole matrices: as `make test`, 50 kills of the host agent, deploys at 1,000/s; before a release
	@AYATORI_KILLS=50 $(MAKE) --no-print-directory --keep-going $(EVERYTHING) test-deploy-fast

# Most of these tests wait for processes and deadlines, so more of them run at a time than there are cores.
.PHONY: test-crates
test-crates:
	@$(PARTS); $(CARGO) test --workspace --exclude control-plane --exclude e2e $(TEST_FLAGS) $(SHOW) --test-threads=$$((2 * $$(nproc)))

# These work: load, storms, thousands of services.
.PHONY: test-mesh
test-mesh:
	@$(PARTS); $(CARGO) test -p control-plane -p e2e $(TEST_FLAGS) $(SHOW)

.PHONY: test-deploy-fast
test-deploy-fast:
	@$(CARGO) build --release $(PROGRAMS)
	@$(PARTS); export AYATORI_DEPLOY_RATE=1000; $(CARGO) test --release -p e2e --test deploy $(TEST_FLAGS) $(SHOW) --test-threads=1

.PHONY: test-unit
test-unit: ## Tests that need nothing but this checkout; those that need real parts say SKIP
	@$(CARGO) test --workspace --exclude e2e --exclude lab $(TEST_FLAGS) $(SHOW)

.PHONY: test-e2e
test-e2e: setup build ## Only the lab's and the end-to-end tests, with real Envoy and Consul
	@$(PARTS); $(CARGO) test -p lab -p e2e $(TEST_FLAGS) $(SHOW)

# Both wait more than they work, so they run beside each other; each prints what it has to say when it is through.
.PHONY: test-doors
test-doors:
	@echo "Airflow's and Ansible's tests run beside each other, for about five minutes; what they print comes at their end."
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target test-airflow test-ansible

.PHONY: test-airflow
test-airflow: setup build ## The Airflow package alone: format, lint, types, and its tests with a real Airflow
	@$(PARTS); scripts/test-airflow

.PHONY: test-deploy
test-deploy: setup build ## Only the deploys under load; AYATORI_DEPLOY_RATE=N requests a second (100)
	@$(PARTS); $(CARGO) test -p e2e --test deploy $(TEST_FLAGS) $(SHOW)

.PHONY: test-ansible
test-ansible: setup build ## Lint the playbooks and run their tests; the site on a booted Debian needs root
	@$(PARTS); ansible/tests/run

.PHONY: fuzz
fuzz: setup ## Fuzz what reads URLs, JSON, metrics and spans, each for FUZZ_SECONDS (default 300)
	@$(PARTS); scripts/fuzz $(FUZZ_SECONDS)

.PHONY: test-fuzz
test-fuzz: setup ## The same for 10 seconds each
	@$(PARTS); scripts/fuzz 10

.PHONY: bench-xds
bench-xds: setup-demo ## Measure the control plane with thousands of simulated Envoys
	@$(CARGO) build --release -p control-plane -p bench
	@$(PARTS); exec target/release/fleet xds

.PHONY: bench-peers
bench-peers: setup-demo ## The same beside a plain server on go-control-plane; needs Go
	@$(CARGO) build --release -p control-plane -p bench
	@mkdir -p target/bench && cd bench/baseline && go build -mod=mod -buildvcs=false -o ../../target/bench/baseline .
	@$(PARTS); exec target/release/fleet peers

.PHONY: bench-gateway
bench-gateway: setup-demo ## Measure the API gateway beside Envoy's transcoder and, with Go, grpc-gateway
	@$(CARGO) build --release -p api-gateway -p bench
	@$(PARTS); exec target/release/fleet gateway

.PHONY: bench-logs
bench-logs: setup ## Measure the host agent's logs: catching up with a journal, and a steady stream; needs root
	@$(CARGO) build --release -p host-agent -p bench
	@$(PARTS); exec target/release/fleet logs

.PHONY: bench-traces
bench-traces: setup ## Measure spans through the host's agent beside rotel and, with Go, the OpenTelemetry collector
	@$(CARGO) build --release -p host-agent -p bench
	@mkdir -p target/bench; if command -v go >/dev/null; then cd bench/otelcol && go build -mod=mod -buildvcs=false -o ../../target/bench/otelcol .; \
	else echo "SKIP OpenTelemetry collector: no \`go\` on PATH; it is not measured beside the others"; fi
	@$(PARTS); exec target/release/fleet traces

.PHONY: bench-relay
bench-relay: setup ## Measure the relay of a host's metrics beside Prometheus alone and exporter_exporter
	@$(CARGO) build --release -p host-agent -p bench
	@$(PARTS); exec target/release/fleet relay

.PHONY: build
build: ## Build the programs that the demo and the tests run
	@$(CARGO) build $(PROGRAMS)

.PHONY: dist
dist: setup-demo ## Make what an installation takes, in target/dist; DIST_PROFILE=debug: fast, for tests
	@scripts/dist

.PHONY: setup
setup: ## Bring Envoy, Consul and what judges the mesh in tests, where they are missing
	@scripts/setup

.PHONY: setup-demo
setup-demo: # Envoy and Consul only
	@scripts/setup demo

.PHONY: clean
clean: ## Remove everything that was built or set up
	@$(CARGO) clean
	@rm -rf "$${AYATORI_CACHE:-$$HOME/.cache/ayatori}"
