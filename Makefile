# What a person types. Everything runs in .venv, which `make setup` makes from constraints.txt.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
INSTALLED := $(VENV)/.installed
BENCH := $(VENV)/.bench
AUDIT := $(VENV)/.audit

.DEFAULT_GOAL := help
.PHONY: help demo setup servers lint check unit test coverage audit hooks soak bench-startup bench-schedules bench-reads bench-observation bench-metrics bench-images bench-runs constraints requirements sbom clean generate site dist images kind-tools kind-up kind-down e2e day

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## a real job on an embedded database, in half a minute: start here
	@$(BIN)/python examples/orders/demo.py

setup: $(INSTALLED) ## the virtual environment, with everything that the tests need

# Piko alone: all that `make demo` and `piko dev` need. `make setup` adds the rest to it.
$(RUNTIME): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Piko needs Python 3.11 or newer on PATH; or name one: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { echo "Python's venv module is incomplete: on Debian or Ubuntu install python3-venv" >&2; exit 1; }
	@echo "installing Piko into $(VENV), once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(INSTALLED): $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs,operator,test]'
	@touch $@

# What benchmarks set beside Piko. Kept out of `make setup`: neither tests nor Piko import any of it.
$(BENCH): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs,operator,test,bench]'
	@touch $@

$(AUDIT): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[audit]'
	@touch $@

servers: setup ## finds, builds or installs the servers of the tests
	$(BIN)/python -m tests.harness.prepare

lint: setup ## format, lint, types and links of the documentation, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.docs.links

check: setup ## the quick look before a commit: format, lint, types, arrows
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

unit: setup ## the quick tier, which needs no server: as often as you like
	$(BIN)/pytest -m unit -n 2 --dist=worksteal

test: lint servers ## everything: lint, servers, the whole suite in three processes that share the servers
	$(BIN)/pytest -n 3 --dist=worksteal

coverage: servers ## the whole suite, and which lines and branches it has not run; MARKS=unit for a part of it
	rm -f .coverage .coverage.*
	$(BIN)/pytest -n 3 --dist=worksteal $(if $(MARKS),-m '$(MARKS)') --cov --cov-report=term

audit: $(AUDIT) ## known vulnerabilities of what constraints.txt pins; asks a service on the network
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

hooks: setup ## has git run `make lint` before each commit, by way of pre-commit
	@command -v pre-commit >/dev/null || { echo "make hooks needs pre-commit on PATH; or run make lint before each commit" >&2; exit 1; }
	pre-commit install

soak: setup ## three replicas under failures at random, 10 minutes; SECONDS=… SEED=… REPLICAS=… EXECUTOR=replicas
	$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600) --replicas $(or $(REPLICAS),3) \
	  --executor $(or $(EXECUTOR),leader) $(if $(SEED),--seed $(SEED))

bench-startup: setup ## processor time until a replica is ready, by either lease
	$(BIN)/python -m benchmarks.startup

bench-schedules: setup ## 10,000 and 100,000 schedules: start, stalls, steady passes, memory; beside APScheduler 3
	$(BIN)/python -m benchmarks.schedules

bench-reads: setup ## what each page and endpoint costs on 10,000 jobs and 2,000,000 runs: some minutes
	$(BIN)/python -m benchmarks.reads

bench-observation: setup ## what the log of a run and an open page cost the runs: a quarter of an hour
	$(BIN)/python -m benchmarks.observation

bench-metrics: setup ## what a scrape costs when 10,000 jobs have run, and who waits for it: three minutes
	$(BIN)/python -m benchmarks.metrics

bench-images: ## what the images add to Python's, as installed and as trimmed; needs a Python 3.13 and the network
	python3.13 -m benchmarks.images

bench-runs: $(BENCH) ## starts under load, cost and rate of runs beside peers, changes of leader, capacity: 20 minutes
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.run_cost
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.failover
	$(BIN)/python -m benchmarks.capacity
	$(BIN)/python -m benchmarks.short_runs
	$(BIN)/python -m benchmarks.chains

constraints: $(BENCH) $(AUDIT) ## writes constraints.txt from what is installed
	@{ echo "# The versions that the tests run with. Renew: make constraints"; \
	  $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt.new && mv constraints.txt.new constraints.txt
	@$(MAKE) --no-print-directory requirements

# One line for each package of an image, with the hashes of all its files: what is built is what was looked at.
requirements: $(AUDIT) ## writes requirements/, what the images may install, from constraints.txt
	@for image in runtime operator; do \
	  { echo "# The packages of the image piko-$$image, with the hashes of their files. Renew: make requirements"; \
	    $(BIN)/uv pip compile --quiet --python-platform linux --python-version 3.11 --generate-hashes --no-header \
	      --no-annotate -c constraints.txt $$(test $$image = runtime || echo --extra $$image) pyproject.toml; \
	  } > requirements/$$image.new && mv requirements/$$image.new requirements/$$image.txt || exit 1; done

sbom: $(AUDIT) ## what of Python the images contain, by name, version and licence: dist/piko-….cdx.json
	@mkdir -p dist && for image in runtime operator; do \
	  rm -rf dist/$$image && $(BIN)/python -m venv --without-pip dist/$$image && \
	  $(BIN)/python -m pip --python dist/$$image/bin/python install --quiet --disable-pip-version-check \
	    --only-binary=:all: --no-deps --require-hashes -r requirements/$$image.txt && \
	  $(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    -o dist/piko-$$image.cdx.json dist/$$image/bin/python && rm -rf dist/$$image || exit 1; done

site: setup ## the documentation as a site with search, which needs no server: dist/site/index.html
	$(BIN)/python -m website dist/site

# With the time of the commit, so that everyone who builds it gets the same bytes.
dist: setup ## wheel and sdist in dist/, the same for everyone who builds this commit
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation --outdir dist .

# ---- images and cluster ----

CONTAINER ?= docker
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
KIND_CLUSTER := piko
KIND_CONTEXT := kind-$(KIND_CLUSTER)

images: ## piko-runtime and piko-operator, with docker, or CONTAINER=podman
	@command -v $(CONTAINER) >/dev/null || { echo "make images needs $(CONTAINER) on PATH; or name another: make images CONTAINER=podman" >&2; exit 1; }
	for target in runtime operator; do \
	  $(CONTAINER) build --target $$target --tag piko-$$target:$(VERSION) --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown) . || exit 1; done

generate: setup ## writes what the code says of itself: crds/, the chart's copy of it, the tables of the docs
	$(BIN)/python -m crds.generate
	$(BIN)/python -m docs.generate

kind-tools:
	@for tool in docker kind kubectl helm; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	  test -z "$$missing" || { echo "a cluster on this machine needs docker, kind, kubectl and helm; missing:$$missing. For any other cluster see docs/how-to/install-on-kubernetes.md" >&2; exit 1; }

kind-up: kind-tools images ## a cluster on this machine with a database and Piko in it
	kind get clusters | grep -qx $(KIND_CLUSTER) || kind create cluster --name $(KIND_CLUSTER) --config kind-config.yaml --wait 2m
	kind load docker-image --name $(KIND_CLUSTER) piko-runtime:$(VERSION) piko-operator:$(VERSION)
	kubectl --context $(KIND_CONTEXT) get namespace piko >/dev/null 2>&1 || kubectl --context $(KIND_CONTEXT) create namespace piko
	kubectl --context $(KIND_CONTEXT) -n piko apply -f examples/cluster/database.yaml
	helm --kube-context $(KIND_CONTEXT) upgrade --install piko helm/piko -n piko -f examples/cluster/values.yaml --wait --timeout 5m
	@echo "Piko runs in the cluster $(KIND_CLUSTER). Next: kubectl --context $(KIND_CONTEXT) apply -f examples/cluster/schedule.yaml"

kind-down: kind-tools ## removes that cluster
	kind delete cluster --name $(KIND_CLUSTER)

e2e: setup ## the chart on the cluster of KUBECONFIG=…, which has the images: 10 minutes; TAG=… REGISTRY=… KEEP=1
	@test -n "$(KUBECONFIG)" || { echo "make e2e needs a cluster: make e2e KUBECONFIG=/path/to/kubeconfig; make kind-up makes one" >&2; exit 1; }
	$(BIN)/python -m tests.e2e --kubeconfig $(KUBECONFIG) --tag $(or $(TAG),$(VERSION)) --registry '$(REGISTRY)' \
	  $(if $(PREVIOUS_CHART),--previous-chart $(PREVIOUS_CHART) --previous-tag $(PREVIOUS_TAG)) $(if $(KEEP),--keep)

day: setup ## a day of a release with 200 resources on the cluster of KUBECONFIG=…; API_SERVER_RESTART='…' ETCD_COMPACTION='…'
	@test -n "$(KUBECONFIG)" || { echo "make day needs a cluster: make day KUBECONFIG=/path/to/kubeconfig; make kind-up makes one" >&2; exit 1; }
	$(BIN)/python -m tests.e2e.day --kubeconfig $(KUBECONFIG) --tag $(or $(TAG),$(VERSION)) --registry '$(REGISTRY)' \
	  --api-server-restart '$(API_SERVER_RESTART)' --etcd-compaction '$(ETCD_COMPACTION)'

clean: ## removes the environment and what tools leave; the cache of servers stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
