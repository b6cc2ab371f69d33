# Every step of development and CI is a target here; `make help` prints them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The tools live beside the virtual environment so that `uv sync` never removes them.
UV      := .venv-tools/bin/uv
PY      := .venv/bin/python
RUN     := .venv/bin
CLUSTER_CMD := $(PY) -m tests.localcluster
export UV_PYTHON_DOWNLOADS := never

.PHONY: help
help: ## This list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: .venv/.synced ## Install the locked environment into .venv

# Debian ships python3 without ensurepip; where that is so, python3-venv comes from its packages.
.venv-tools/bin/uv:
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; }
	@python3 -m venv .venv-tools
	@.venv-tools/bin/python -m pip install -q --disable-pip-version-check "uv>=0.13,<0.14"

.venv/.synced: pyproject.toml uv.lock | .venv-tools/bin/uv
	@$(UV) sync --frozen --quiet
	@touch $@

# ---- checks -------------------------------------------------------------------------------------------

.PHONY: check
check: install ## Format, lint, types, import contracts, generated files, Dockerfiles, chart, licences (< 60 s)
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy operator/batchjob worker-image/batchjob_processors tests
	$(RUN)/lint-imports --no-logo
	$(PY) -m batchjob.api.crd --check
	$(PY) -m batchjob.cli.reference --check
	$(RUN)/hadolint operator/Dockerfile worker-image/Dockerfile tests/support/neighbours/Dockerfile tests/localcluster/redis.Dockerfile tests/support/chaos/Dockerfile
	$(CLUSTER_CMD) helm lint --strict charts/batchjob-operator
	$(RUN)/pip-licenses --packages $$($(UV) export -q --frozen --no-dev --all-extras --no-emit-project --no-hashes --no-header --no-annotate --format requirements.txt | sed 's/[ =].*//')

.PHONY: format
format: install ## Format the code and mend what the linter can
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

.PHONY: generate
generate: install ## Write the generated files (CRDs, reference pages) from the models and the commands
	$(PY) -m batchjob.api.crd
	$(PY) -m batchjob.cli.reference
	$(RUN)/pytest -q tests/chart/test_values_page.py --update-golden

# It prints how long it took, which tests side by side cannot.
QUICKSTART := tests/store/test_quickstart.py
# What of the store's tests is about the server, and so runs on Valkey too.
STORE_ITSELF := $(addprefix tests/store/test_,access.py ending.py events.py exchange.py index.py live_store.py loading.py losses.py properties.py reading.py server.py)

# ---- tests --------------------------------------------------------------------------------------------

# As many at a time as two cores bear: unit and chart tests compute, those of the store and the operator mostly wait. A
# file's tests stay together, for they share what it starts.
AT_ONCE = -n $(1) --dist loadfile
# What takes the time, where there is something to cut.
SLOWEST := --durations=8 --durations-min=5

# Tests with pods mostly wait for them, one at a time: what needs none goes on beside them, once there is nothing left to
# build or to install. The last two of the list come beside the end of the longer of the first two.
.PHONY: test
test: check test-unit test-ui promtool redis-server postgresql cluster-up ## Everything but the benches: the one test command
	$(MAKE) --no-print-directory -j2 --output-sync=target test-e2e test-podless test-valkey test-chart

.PHONY: test-podless
test-podless: ## The tests with servers and without pods, one tier after the other
	@MAKEFLAGS= $(MAKE) --no-print-directory test-store test-cluster

.PHONY: test-unit
test-unit: install ## Pure functions: no socket, no file outside a temporary folder
	$(RUN)/pytest tests/unit $(call AT_ONCE,2) --disable-socket --allow-unix-socket

.PHONY: test-store
test-store: install redis-server postgresql ## The store, the worker and the processors against real servers on loopback
	$(RUN)/pytest $(QUICKSTART)
	$(RUN)/pytest tests/store --ignore $(QUICKSTART) $(call AT_ONCE,4) $(SLOWEST)

.PHONY: test-valkey
test-valkey: install ## What of these tests is about the server, against a real Valkey
	STORE_SERVER=valkey $(RUN)/pytest $(STORE_ITSELF) $(call AT_ONCE,4)

.PHONY: test-chart
test-chart: install promtool ## The chart: rendered, compared, validated; its alerts
	$(RUN)/pytest tests/chart $(call AT_ONCE,2)

.PHONY: test-cluster
test-cluster: install redis-server ## The operator against a real API server, without pods
	$(RUN)/pytest tests/cluster $(call AT_ONCE,2) $(SLOWEST)

.PHONY: test-ui
test-ui: install chromium ## The admin UI in a browser: accessibility, keys, freshness
	$(RUN)/pytest tests/ui

.PHONY: test-e2e
test-e2e: install ## Real pods on the cluster
	@$(MAKE) --no-print-directory cluster-up  # a line, for while a prerequisite is made, others take this one's place
	$(RUN)/pytest tests/e2e -p no:randomly $(SLOWEST)

.PHONY: bench
bench: install redis-server postgresql chromium ## Benchmarks, reported and never asserted: PART=items|control|exports|submissions|index|live|pages|cli, SCALE=0.01 for a quick try
	$(PY) -m tests.bench $(PART) --scale $(or $(SCALE),1)

.PHONY: prove
prove: install redis-server postgresql ## The long proofs in full, resumable (PART=engine|control|processors|gateway); results go to docs/proof
	$(PY) -m tests.prove $(PART)

.PHONY: redis-server
redis-server:
	@command -v redis-server >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server; }

# Debian's, as the others: to build it from its Go module takes ten minutes of a processor.
.PHONY: promtool
promtool:
	@command -v promtool >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus; }

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

.PHONY: postgresql
postgresql:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; }

# ---- a release ----------------------------------------------------------------------------------------

.PHONY: release
release: install ## Build what a release consists of into dist/ and check it; nothing is sent (BASE=<image by digest>)
	BASE=$(BASE) $(PY) -m tests.release

# ---- the cluster and the demo -------------------------------------------------------------------------

.PHONY: cluster-up cluster-down cluster-status
cluster-up: install ## Start the test cluster and load the product's images (CLUSTER=local|kind|existing)
	@$(CLUSTER_CMD) prepare
	@$(CLUSTER_CMD) up
	@$(CLUSTER_CMD) images

cluster-down: install ## Stop the test cluster; leaves nothing behind
	$(CLUSTER_CMD) down

cluster-status: install ## What of the test cluster runs
	$(CLUSTER_CMD) status

.PHONY: demo demo-down
demo: cluster-up ## Annotate 3,708 reviews in pods, export them, send a mail; live progress
	$(PY) -m tests.demo

demo-down: install ## Remove what the demo installed and stop the cluster
	$(PY) -m tests.demo down
	$(CLUSTER_CMD) down
