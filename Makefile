# The two commands that matter: `make demo` and `make test`. Both set up what they need.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin
PYTHON ?= python3
# The interpreter that built the environment, the lists of what is in it, and this recipe: when one changes, sync again.
PROJECTS := pyproject.toml constraints.txt $(wildcard libraries/*/pyproject.toml plugins/*/pyproject.toml)
STAMP := .venv/.synced
SOURCES := src libraries plugins agreement examples benchmarks scripts tests conftest.py

.PHONY: help setup demo stack-programs stack-up stack-down stack-smoke test test-kernels check bench agreement bench-peers objects format clean

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Make .venv with the core and every plugin, editable; install system packages where that is possible.

$(STAMP): $(PROJECTS) scripts/install_system_packages.sh
	@scripts/install_system_packages.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@UV_CONSTRAINT=constraints.txt $(BIN)/uv sync --quiet --inexact --all-packages --all-extras --all-groups --compile-bytecode
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q src libraries/*/src plugins/*/src
	@touch $@

demo: setup ## Cover libcrypto's EVP functions under a real openssl; simulated, and said so, where eBPF is not allowed.
	@scripts/demo.sh

stack-programs: setup ## Get the collector, Prometheus and docker-compose that tests run; takes minutes, once.
	@scripts/get_stack_programs.sh

stack-up: ## Start the local stack (docker compose) and wait until its collector answers.
	@EBPF_BOT_GID=$$(id -g) docker compose up --detach
	@for _ in {1..60}; do curl --silent --fail --output /dev/null http://localhost:13133 && exit 0; sleep 1; done; \
	  echo "the collector does not answer: docker compose logs otel-collector" >&2; exit 1

stack-down: ## Stop the local stack; what it keeps stays.
	@docker compose down

stack-smoke: setup ## Send one of everything to the local stack, and ask each part of it for what must have arrived.
	@$(BIN)/python scripts/stack_smoke.py

test: stack-programs ## Run all tests.
	@$(BIN)/python -m pytest

test-kernels: setup ## Run the backends' tests of every probe kind in Debian's own kernel, in an emulator.
	@$(BIN)/python scripts/test_kernels.py

check: setup ## Lint, types, docs, and the contract between docs, names and code.
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python plugins/ebpf-bot-libbpf/scripts/build_objects.py --check
	$(BIN)/mkdocs build --quiet --strict
	$(BIN)/python -m pytest --quiet tests/contract

bench: setup ## Measure the pipeline's own cost, the stores and the backend.
	@for script in benchmarks/*.py plugins/ebpf-bot-libbpf/scripts/measure.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-peers: setup ## Compare with bpftrace, bcc, perf and strace; about five minutes, writes docs/benchmarks.md.
	@scripts/install_benchmark_peers.sh
	@$(BIN)/python -m benchmarks.comparison

agreement: setup ## Hold what is seen of real C programs against what gcc --coverage counts; writes docs/agreement.md.
	@$(BIN)/python -m agreement

objects: setup ## Rebuild the eBPF objects from their sources.
	$(BIN)/python plugins/ebpf-bot-libbpf/scripts/build_objects.py

format: setup ## Format the sources.
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean: ## Remove what was built.
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache
