# mlinfra: everything a person or a machine does with this repository.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url

.PHONY: help
help: ## List what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## Cluster, MLflow and operator on this machine, and one model from data to Production
	@$(BIN)/mlinfra demo

.PHONY: demo-drift
demo-drift: install ## After that: a served model goes wrong, and its policy mends it; nine years in minutes
	@$(BIN)/mlinfra demo-drift

.PHONY: up
up: install ## Start the embedded cluster, MLflow and the operator
	@$(BIN)/mlinfra up

.PHONY: status
status: install ## Show what runs
	@$(BIN)/mlinfra status

.PHONY: down
down: ## Stop all that `make demo` or `make up` started, and nothing else
	@if [ -x $(BIN)/mlinfra ]; then $(BIN)/mlinfra down; else echo "Nothing is installed here, so nothing runs."; fi

.PHONY: test
test: lint typecheck test-unit test-real ## All checks and tests, those against the real API server included

.PHONY: test-unit
test-unit: install ## The pure tests: seconds
	@$(BIN)/pytest tests/unit --quiet --timeout 60

.PHONY: test-real
test-real: install ## The tests against a real API server, a real MLflow server and real training
	@$(BIN)/pytest tests/integration tests/e2e --durations 15

.PHONY: lint
lint: install ## Style, import directions, and whether the generated files are current
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/python -m mlinfra.resources.crd --check crds/
	@$(BIN)/python -m mlinfra.resources.api_docs --check docs/api.md

.PHONY: typecheck
typecheck: install ## Types, strictly
	@$(BIN)/mypy

.PHONY: fmt
fmt: install ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: crds
crds: install ## Generate crds/ and docs/api.md from the resource models
	@$(BIN)/python -m mlinfra.resources.crd crds/
	@$(BIN)/python -m mlinfra.resources.api_docs docs/api.md

.PHONY: bench
bench: install ## Measure side by side on this machine: all, or make bench NAME="online_store import_time"
	@$(BIN)/python -m benchmarks $(NAME)

.PHONY: lock
lock: install ## Compile the lock files anew from pyproject.toml
	@$(LOCK) --all-extras --group dev pyproject.toml -o requirements/development.txt
	@$(LOCK) --extra operator -c requirements/development.txt pyproject.toml -o requirements/operator.txt
	@$(LOCK) --extra trainer -c requirements/development.txt pyproject.toml -o requirements/trainer.txt
	@$(LOCK) --extra serving --extra grpc --extra redis -c requirements/development.txt pyproject.toml -o requirements/serving.txt
	@grep '^uv==' requirements/development.txt | tr -d '\\' | $(LOCK) - -o requirements/uv.txt

.PHONY: install
install: $(INSTALLED) ## Virtual environment from the lock file (done by the other targets)

$(INSTALLED): requirements/development.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "mlinfra needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "Installing the Python environment into $(VENV) (6 GB, about two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "Creating $(VENV) failed. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements/development.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: clean
clean: down ## Remove what this repository built here; clusters' data and the binaries' cache stay
	@rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
